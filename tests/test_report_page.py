"""`report.html`: all of the report in one file, and whatever a name or message holds is text in it."""

import base64
import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import (
    HEADING,
    capacity_record,
    climb,
    five_memories,
    make_record,
    many_memories,
    rung_record,
)

from membench.records import RunRecord
from membench.report import ReportFiles, ReportHeading, write_report
from membench.report.page import MARKDOWN
from membench.report.text import escape_markdown, one_line

SCRIPT = "<script>alert(1)</script>"
MARKUP = f'</code></td><img src=x onerror="alert(1)"> [a](javascript:alert(1)) ![b](http://c.d/e) {SCRIPT}'

Attributes = dict[str, str | None]


class Reader(HTMLParser):
    """What a browser finds in a page: its elements, its text, and the text of each table's cells."""

    def __init__(self, content: str):
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.text = ""
        self.cells: dict[str, list[list[tuple[str, Attributes]]]] = {}
        self._table = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        name = dict(attrs).get("id") or ""
        if name.startswith("table-"):
            self._table = name.removeprefix("table-")
            self.cells[self._table] = []
        elif tag == "tr":
            self.cells[self._table].append([])
        elif tag in ("td", "th"):
            self.cells[self._table][-1].append(("", dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.lasttag in ("td", "th") and data.strip():
            text, attributes = self.cells[self._table][-1][-1]
            self.cells[self._table][-1][-1] = (text + data, attributes)

    def of(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def column(self, table: str, heading: str) -> list[tuple[str, str | None]]:
        """The text and the value to sort by of each cell under a heading."""
        headings, *rows = self.cells[table]
        place = [text for text, _ in headings].index(heading)
        return [(row[place][0], row[place][1].get("data-value")) for row in rows]


def write(
    results: Path,
    records: list[RunRecord],
    missing: tuple[str, ...] = (),
    complaints: tuple[str, ...] = (),
    heading: ReportHeading = HEADING,
) -> tuple[ReportFiles, Reader]:
    files = write_report(results, records, list(missing), list(complaints), heading)
    return files, Reader(files.page.read_text())


def rungs() -> list[RunRecord]:
    told, shown = rung_record("supervised", False, "solved"), rung_record("ppo", True, "solved")
    return [told, shown, rung_record("ppo", False, "unsolved")]


KINDS: dict[str, Callable[[], list[RunRecord]]] = {
    "few": lambda: [*five_memories(), make_record("rnn", status="failed", error="its process ended")],
    "many": many_memories,
    "ladder": lambda: [climb("gru", 0, 64), climb("lstm", 0, 128)],
    "capacity": lambda: [capacity_record("gru", 5, items, 1.0) for items in (1, 4)],
    "rungs": rungs,
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, tuple[ReportFiles, Reader]]:
    folder = tmp_path_factory.mktemp("reports")
    return {kind: write(folder / kind, make(), missing=("gru, seed 7",)) for kind, make in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_and_figure_is_on_the_page_and_needs_nothing_else(kind, reports):
    files, page = reports[kind]
    tables = {path.stem for path in files.tables if kind == "few" or path.stem != "lost"}
    assert set(page.cells) == tables
    assert {attributes["id"] for attributes in page.of("figure")} == {
        f"figure-{path.stem}" for path in files.plots
    }
    pictures = [base64.b64decode(picture["src"].partition(",")[2]) for picture in page.of("img")]
    assert sorted(pictures) == sorted(path.read_bytes() for path in files.plots if path.suffix == ".svg")
    assert all(picture["alt"] for picture in page.of("img"))
    for tag, attributes in page.elements:
        for name in {"src", "href", "action", "data", "poster", "srcset", "style"} & attributes.keys():
            allowed = ("#", "data:") if (tag, name) == ("a", "href") else ("data:",)
            assert attributes[name].startswith(allowed), (tag, attributes)
    (style,) = re.findall("<style>(.*?)</style>", files.page.read_text(), re.DOTALL)
    assert "url(" not in style and "@import" not in style


@pytest.mark.parametrize("kind", KINDS)
def test_both_pages_say_the_same(kind, reports):
    files, page = reports[kind]
    for line in files.report.read_text().splitlines():
        if line and not line.startswith(("|", "![", "#", "    ")):
            said = re.sub("<[^>]*>", "", MARKDOWN.renderInline(line.removeprefix("- ")))
            said = re.sub(r" tables/\w+\.md$", "", html.unescape(said))
            assert said in page.text, said
    anchors = [attributes["id"] for attributes in page.of("h2")]
    assert [link["href"] for link in page.of("a")] == [f"#{anchor}" for anchor in anchors]
    titles = re.findall("^## (.*)", files.report.read_text(), re.MULTILINE)
    assert all(title in page.text for title in titles) and len(titles) == len(anchors)


def test_the_answer_comes_first(tmp_path):
    _, page = write(tmp_path, [make_record(seed=seed) for seed in range(3)])
    before, _, after = page.text.partition("At horizon 10, GRU solves it in all 3 seeds.")
    assert after and "Result" not in before
    assert page.text.index("How it was run") > 0 and page.text.index("Seconds") > len(before)


def test_whatever_people_type_is_text(tmp_path):
    heading = ReportHeading(
        suite=SCRIPT, profile=MARKUP, question=f"<b>{MARKUP}", commands=[f"run {MARKUP}"], seeds=[0]
    )
    machine = {"processor": MARKUP, "cores": 2}
    records = [
        make_record(SCRIPT, machine=machine, versions={"membench": MARKUP}),
        make_record("gru", machine=machine),
        make_record(MARKUP, status="diverged", success=None, error=MARKUP),
    ]
    files, page = write(tmp_path, records, (MARKUP,), (MARKUP,), heading)
    plain, plain_page = write(tmp_path / "plain", [make_record("a:A"), make_record(), make_record("b:B")])
    assert len(page.of("script")) == len(plain_page.of("script")) == 1
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain_page.elements} | {"strong"}
    assert len(page.of("img")) == len(plain_page.of("img"))
    assert not [attributes for _, attributes in page.elements if any(n.startswith("on") for n in attributes)]
    for shown in ("processor", "skipped: ", "no record: ", "membench ", "run "):
        assert f"{shown}{' ' * (shown == 'processor')}{MARKUP}" in page.text, shown
    assert (SCRIPT, None) in page.column("headline", "Memory")
    assert page.column("lost", "Error") == [(MARKUP, None)]
    assert f"GRU and {SCRIPT} solve it" in page.text
    lines = files.report.read_text().splitlines()
    assert not [line for line in lines if "<script" in line and not line.startswith("    ")]  # but as code
    assert plain.page.read_text().count("<script") == files.page.read_text().count("<script")


@given(st.text())
def test_what_is_escaped_for_markdown_reads_as_it_was(words):
    assert html.unescape(MARKDOWN.renderInline(escape_markdown(words))) == one_line(words)


def test_html_in_markdown_is_text():
    assert MARKDOWN.renderInline("a <b onclick=x>") == "a &lt;b onclick=x&gt;"


def test_columns_are_sorted_by_what_was_measured(tmp_path):
    records = [
        *(make_record(seed=seed, success=success) for seed, success in enumerate((1.0, 0.9776, 0.9712))),
        *(make_record("lstm", seed=seed, status="diverged", success=None) for seed in range(3)),
        *(make_record("mamba", seed=seed, steps_per_second=27_123.4) for seed in range(3)),
    ]
    _, page = write(tmp_path, records)
    shown, values = zip(*page.column("success", "Mean success"), strict=True)
    assert shown == ("0.98", "0.25", "1.00")
    assert [float(value) for value in values] == pytest.approx([(1 + 0.9776 + 0.9712) / 3, 0.25, 1.0])
    assert page.column("headline", "Horizon 10")[0] == ("0.98 (3/3)", values[0])
    assert page.column("headline", "Steps/s at 10")[1:] == [("1.2k", "1234.0"), ("27k", "27123.4")]
    assert page.column("steps_to_solved", "Median steps to solved")[1] == ("never", "Infinity")
    assert page.column("success", "Interquartile mean") == [("—", "")] * 3
    assert page.column("success", "Memory") == [("GRU", None), ("LSTM", None), ("Mamba", None)]
    assert [value for _, value in page.column("runs", "Seed")] == ["0.0", "1.0", "2.0"] * 3


@pytest.mark.parametrize(
    ("kind", "table", "headings"),
    [
        ("few", "success", ["Runs", "Solved", "95 % interval of the mean"]),
        ("few", "cost", ["Training steps/s", "Parameters", "Peak memory", "State per environment"]),
        ("few", "runs", ["Sampled", "Steps", "Seconds", "Steps/s"]),
        ("ladder", "headline", ["Frontier"]),
        ("ladder", "frontier", ["Steps to it", "Seconds to it", "Success there"]),
        ("capacity", "headline", ["Bits recalled", "Solved"]),
        ("capacity", "capacity", ["Bits recalled", "Bits shown"]),
        ("rungs", "rungs", ["Horizon", "Answers told", "Cue shown again", "PPO"]),
    ],
)
def test_numbers_are_sorted_as_numbers(kind, table, headings, reports):
    _, page = reports[kind]
    for heading in headings:
        assert all(value is not None for _, value in page.column(table, heading)), heading


def test_how_it_was_run_tells_what_is_not_there(tmp_path):
    mixed = msgspec.structs.replace(make_record(), run_id="another")
    lost = make_record("lstm", status="diverged", success=None, error="loss nan")
    _, page = write(tmp_path, [make_record(), mixed, lost], ("mamba, seed 2",), ("x.json: broken",))
    _, _, run = page.text.rpartition("How it was run")
    for fact in (*HEADING.commands, "seeds 0, 1, 2", "3 of 4 planned runs", "1 of them diverged or failed"):
        assert fact in run
    for fact in ("no record: mamba, seed 2", "skipped: x.json: broken", "1 runs share", "loss nan"):
        assert fact in run
    for fact in ("a processor", "membench 0.1.0"):
        assert fact in run


def test_runs_that_lost_the_task_again_are_named(tmp_path):
    records = [make_record(seed=seed, success=success) for seed, success in enumerate((1.0, 0.52, 0.95))]
    _, page = write(tmp_path, [*records, make_record("lstm", status="unsolved", success=0.3)])
    assert "Of the 3 runs called solved, 1 fell below their mark" in page.text
    assert [text for text, _ in page.column("below_mark", "Seed")] == ["1"]
    assert [text for text, _ in page.column("below_mark", "Success")] == ["0.52"]


def test_the_page_says_what_an_interval_without_an_upper_end_is(tmp_path):
    _, page = write(tmp_path, [make_record(seed=seed, steps=4_000 + 2_000 * seed) for seed in range(5)])
    assert page.column("steps_to_solved", "Its 95 % interval")[0][0].startswith("from 4,000")
    assert "An interval that reads from has no upper end" in page.text


def test_a_section_that_speaks_of_the_document_says_what_that_is(reports):
    sections = [one for files, _ in reports.values() for one in files.report.read_text().split("\n## ")]
    speaking = [one for one in sections if "document" in one or "deep dive" in one]
    assert speaking
    for section in speaking:
        assert "The document is the Memory Architecture Deep Dive, the guide" in section


def test_a_page_without_any_run_says_so(tmp_path):
    _, page = write(tmp_path, [], missing=("gru, seed 0",))
    assert "There is no record of any run here" in page.text and not page.cells
    assert [attributes["id"] for attributes in page.of("h2")] == ["how-it-was-run"]
