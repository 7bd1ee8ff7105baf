"""Figures can be read: no word hides another, points stand where they belong, numbers tell what they say."""

from itertools import combinations

import numpy as np
import pytest
from test_report import make_record

from membench.frame import to_frame
from membench.report.figures import figures_for
from membench.report.files import style
from membench.report.frame import tidy

WORDS = [f"horizon {horizon}, clipped at 1" for horizon in (10, 20, 50, 100)]
LONG_NAMES = [*WORDS, *(f"{name}, no LayerNorm" for name in WORDS)]
TASKS = [f"AssociativeRecall-v0, horizon {items}, {items} items, supervised" for items in (2, 3, 4, 5)]
"""Names of cells of the lengths that suites have."""


def named(names):
    """A frame whose cells have these names; one memory and one status make the legend as wide as it gets."""
    records = [
        make_record(name, horizon + 1, seed, status=status, success=0.5)
        for name in ("gru", "pmm_hierarchical")
        for horizon in range(len(names))
        for seed, status in enumerate(("solved", "unsolved", "diverged"))
    ]
    frame = tidy(to_frame(records))
    frame["cell"] = frame.cell.map({str(place + 1): name for place, name in enumerate(names)})
    return frame


def drawn(name, frame):
    with style():
        figure = figures_for(frame)[name](frame)
        figure.draw_without_rendering()
    return figure


def assert_apart(texts):
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    for (one, box), (other, its_box) in combinations(boxes, 2):
        assert not box.overlaps(its_box), (one, other)


@pytest.mark.parametrize("names", [LONG_NAMES, TASKS])
def test_titles_of_learning_curves_hide_neither_each_other_nor_the_legend(names):
    figure = drawn("learning_curves", named(names))
    titles = [axes.title for axes in figure.axes]
    assert [title.get_text().split() for title in titles] == [name.split() for name in names]
    assert_apart([*titles, *figure.legends[0].get_texts()])


@pytest.mark.parametrize("names", [LONG_NAMES, TASKS, TASKS * 4])
@pytest.mark.parametrize("figure", ["success", "steps_to_solved"])
def test_names_of_cells_are_whole_and_apart(figure, names):
    names = [f"{name} {place}" for place, name in enumerate(names)]
    axes = drawn(figure, named(names)).axes[-1]
    labels = axes.get_xticklabels()
    words = [label.get_text().replace(",", "").split() for label in labels]
    assert words == [name.replace(",", "").split() for name in names]
    assert_apart(labels)
    assert axes.get_window_extent().height > 150  # of 100 to an inch: names take nothing from the data


@pytest.mark.parametrize("figure", ["success", "steps_to_solved"])
def test_points_stand_close_to_their_horizon_and_lines_pass_it(figure):
    horizons = (5, 10, 20, 100)
    records = [
        make_record(name, horizon, seed)
        for name in ("gru", "lstm", "mamba", "transformer")
        for horizon in horizons
        for seed in range(5)
    ]
    axes = drawn(figure, tidy(to_frame(records))).axes[0]
    assert 2 ** axes.get_xticks() == pytest.approx(horizons)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(horizon) for horizon in horizons]
    assert axes.xaxis.get_major_ticks()[0].tick1line.get_markersize() > 0
    joined = [line for line in axes.lines if line.get_marker() == "_"]
    assert len(joined) == 4
    for line in joined:
        assert 2 ** line.get_xdata() == pytest.approx(horizons)
    points = np.concatenate([line.get_xdata() for line in axes.lines if str(line.get_marker()) in "o^vD"])
    nearest = np.abs(np.subtract.outer(2**points, horizons) / horizons).min(axis=1)
    assert len(set(np.round(points, 6))) == len(records) and nearest.max() < 0.08


def test_close_horizons_keep_their_points_apart():
    records = [make_record(name, horizon, 0) for name in ("gru", "lstm") for horizon in (20, 21)]
    axes = drawn("success", tidy(to_frame(records))).axes[0]
    points = sorted(2 ** line.get_xdata()[0] for line in axes.lines if str(line.get_marker()) in "o^")
    assert points[1] < 20.5 < points[2]


def beside(axes):
    """The texts right of a panel of the costs, and that none is inside, beside a stroke."""
    for found in axes.texts:
        assert found.get_window_extent().x0 >= axes.get_window_extent().x1
    return [found.get_text() for found in axes.texts if found.get_text() != "median"]


def test_a_median_stands_beside_the_panel_and_not_beside_the_fastest_run():
    records = [make_record(steps_per_second=speed, seed=int(speed)) for speed in (1000.0, 5200.0, 9300.0)]
    speed, parameters = drawn("cost", tidy(to_frame(records))).axes
    assert beside(speed) == ["5.2k"] and speed.patches[0].get_width() == 5200
    assert beside(parameters) == ["12k"]


def test_speed_is_of_the_last_cell_in_which_most_memories_ran():
    records = [
        make_record("gru", 5, steps_per_second=7000.0),
        make_record("lstm", 5, steps_per_second=6000.0),
        make_record("lstm", 10, steps_per_second=5000.0),
    ]
    (speed, _) = drawn("cost", tidy(to_frame(records))).axes
    assert beside(speed) == ["7.0k", "6.0k"] and "at horizon 5" in speed.get_xlabel()


def test_a_memory_that_did_not_run_there_is_not_called_unmeasured():
    failed = make_record("mamba", 10, status="failed", error="its process ended")
    records = [make_record("gru", 5), make_record("lstm", 10), failed]
    (speed, _) = drawn("cost", tidy(to_frame(records))).axes
    assert beside(speed) == ["not run", "1.2k", "not measured"]


@pytest.mark.parametrize(
    ("sizes", "label", "bars"),
    [((52_000, 597_000), "52k to 597k", 0), ((100_000, 104_000), "102k", 1)],
)
def test_agents_of_different_sizes_have_no_median(sizes, label, bars):
    records = [make_record(seed=seed, parameters={"total": size}) for seed, size in enumerate(sizes)]
    (_, parameters) = drawn("cost", tidy(to_frame(records))).axes
    assert beside(parameters) == [label] and len(parameters.patches) == bars
    strokes = [line for line in parameters.lines if line.get_marker() == "|"]
    assert sorted(strokes[0].get_xdata()) == list(sizes)


def test_prices_of_several_magnitudes_stand_apart():
    records = [
        make_record("gru", state_bytes=1_088, parameters={"total": 100}),
        make_record("transformer", state_bytes=1_080_000, parameters={"total": 900}),
    ]
    for axes in drawn("pareto", tidy(to_frame(records))).axes:
        left, right = axes.get_xlim()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        labels = [label for place, label in ticks if left <= place <= right]
        assert len(labels) >= 2
        assert_apart(labels)
