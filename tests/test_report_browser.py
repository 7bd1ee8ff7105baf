"""`report.html` in a headless Chromium, at the width of a desk and of a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser
from test_report import five_memories, make_record
from test_report_page import KINDS, MARKUP, SCRIPT, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package `chromium`)")

WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Page]:
    assert CHROMIUM is not None
    with browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    long_name = f"a_package.with_a_long_name:{'Memory' * 20}"
    kinds = {kind: KINDS[kind]() for kind in ("few", "many", "ladder")}
    speeds = {SCRIPT: 990.0, MARKUP: 27_123.4, long_name: 1234.0, "gru": 1199.9}  # 990, 27k, 1.2k, 1.2k
    kinds["markup"] = [make_record(name, steps_per_second=speed) for name, speed in speeds.items()]
    kinds["seeds"] = five_memories(num_seeds=5)
    return {
        kind: write(folder / kind, records, (MARKUP,), ("x" * 500,))[0].page
        for kind, records in kinds.items()
    }


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("kind", ["few", "many", "ladder", "markup"])
def test_nothing_overflows_and_nothing_is_complained_about(kind, width, chromium, reports):
    chromium.complaints.clear()
    chromium.open(reports[kind], width)
    assert chromium.evaluate("innerWidth") == width
    assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert chromium.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert chromium.complaints == []


def test_a_table_takes_the_width_that_is_there(chromium, reports):
    chromium.open(reports["seeds"], WIDTHS["desk"])
    assert chromium.evaluate("[...document.querySelectorAll('#table-success .wide')].length") == 1
    assert chromium.evaluate(
        "[...document.querySelectorAll('.wide')].every(one => !one.clientWidth || "
        "one.scrollWidth <= one.clientWidth)"
    )


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_figure_is_seen_whole(width, chromium, reports):
    chromium.open(reports["few"], width)
    assert chromium.evaluate(
        "[...document.images].every(one => one.offsetWidth <= one.parentElement.clientWidth)"
    )


def test_names_are_text(chromium, reports):
    chromium.open(reports["markup"], WIDTHS["desk"])
    assert chromium.evaluate("document.querySelectorAll('script').length") == 1
    assert SCRIPT in chromium.evaluate("document.querySelector('#table-headline').innerText")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page(scheme, chromium, reports):
    chromium.open(reports["few"], WIDTHS["desk"], scheme)
    text, paper = (
        chromium.evaluate(f"Number(getComputedStyle(document.body).{name}.match(/\\d+/)[0])")
        for name in ("color", "backgroundColor")
    )
    assert text < 60 < 200 < paper if scheme == "light" else paper < 60 < 200 < text


def test_every_link_and_button_is_reached_by_tab(chromium, reports):
    chromium.open(reports["few"], WIDTHS["phone"])
    chromium.evaluate("reached = new Set(); addEventListener('focusin', event => reached.add(event.target))")
    chromium.evaluate("wanted = [...document.querySelectorAll('a, button, summary')]")
    chromium.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    num_wanted = chromium.evaluate("wanted.length")
    for _ in range(num_wanted + chromium.evaluate("document.querySelectorAll('[tabindex]').length")):
        chromium.press("Tab", 9)
    assert num_wanted > chromium.evaluate("document.querySelectorAll('th').length") > 20
    assert chromium.evaluate("wanted.every(one => reached.has(one))")


def heading(table: str, start: str) -> str:
    """The heading of a table that starts so: its last columns may be marks of where its runs come from."""
    headings = f"[...document.querySelectorAll('#table-{table} th')]"
    return f"{headings}.find(one => one.innerText.startsWith('{start}'))"


def column(table: str, start: str) -> str:
    place = f"${{{heading(table, start)}.cellIndex + 1}}"
    return f"[...document.querySelectorAll(`#table-{table} td:nth-child({place})`)]"


@pytest.mark.parametrize(
    ("key", "code", "text"), [("Enter", 13, "\r"), (" ", 32, " ")], ids=["enter", "space"]
)
def test_a_column_is_sorted_by_keyboard(key, code, text, chromium, reports):
    chromium.open(reports["markup"], WIDTHS["desk"])
    speeds, button = column("cost", "Training"), heading("cost", "Training")
    order = [("ascending", sorted), ("descending", lambda values: sorted(values, reverse=True))]
    before = chromium.evaluate(f"{speeds}.map(cell => Number(cell.dataset.value))")
    assert sorted(before) == [990.0, 1199.9, 1234.0, 27_123.4] != before
    chromium.evaluate(f"{button}.querySelector('button').focus()")
    for direction, sort in order:
        chromium.press(key, code, text)
        assert chromium.evaluate(f"{button}.getAttribute('aria-sort')") == direction
        assert chromium.evaluate(f"{speeds}.map(cell => Number(cell.dataset.value))") == sort(before)
    assert chromium.evaluate("document.querySelectorAll('[aria-sort]').length") == 1


def test_what_has_no_number_stands_last_either_way_and_text_sorts_naturally(chromium, reports):
    chromium.open(reports["few"], WIDTHS["desk"])
    speeds = column("headline", "Steps/s")
    for _ in range(2):
        chromium.evaluate(f"{heading('headline', 'Steps/s')}.querySelector('button').click()")
        assert chromium.evaluate(f"{speeds}.map(cell => cell.innerText)")[-1] == "—"
    chromium.open(reports["many"], WIDTHS["desk"])
    names = "[...document.querySelectorAll('#table-headline tr td:first-child')].map(cell => cell.innerText)"
    chromium.evaluate("document.querySelector('#table-headline th button').click()")
    found = chromium.evaluate(names)
    assert found == sorted(found, key=str.lower)
