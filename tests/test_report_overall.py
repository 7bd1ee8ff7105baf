"""Figures over all cells: what they draw is what the tables say."""

import numpy as np
import pytest
from test_claims import run_with
from test_report import five_memories, make_record, many_memories, revealing

from membench.frame import to_frame
from membench.report import all_tables
from membench.report.figures import figures_for
from membench.report.files import style
from membench.report.frame import tidy
from membench.report.looks import looks
from membench.report.pareto import front, pareto_table


def frame_of(seeds, **speeds):
    """Memories of known success, spread over seeds by tenths, at two horizons."""
    success = {"gru": 0.8, "lstm": 0.5, "mamba": 0.7}
    return tidy(
        to_frame(
            [
                make_record(
                    name,
                    horizon,
                    seed,
                    success=round(middle + 0.05 * (seed - 2), 2),
                    steps_per_second=speeds.get(name, 1000.0),
                    state_bytes={"gru": 100, "lstm": 100, "mamba": 50}[name],
                )
                for name, middle in success.items()
                for horizon in (5, 10)
                for seed in range(seeds)
            ]
        )
    )


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_ranking_is_drawn_as_its_table_has_it():
    frame = frame_of(5)
    table = all_tables(frame)["ranking"].values
    (axes,) = figures_for(frame)["ranking"](frame).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["GRU", "Mamba", "LSTM"]
    intervals = [lines.get_segments()[0] for lines in axes.collections]
    assert [tuple(ends[:, 0]) for ends in intervals] == [
        pytest.approx(ends) for ends in zip(table.interval_low, table.interval_high, strict=True)
    ]
    points = [line.get_xydata()[0] for line in axes.lines if line.get_marker() in "ov^"]
    assert [x for x, _ in points] == pytest.approx(table.interquartile_mean.tolist())
    chance = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert chance[0].get_xdata()[0] == 0.25


@pytest.mark.parametrize(("seeds", "is_interval"), [(4, False), (5, True)])
def test_intervals_are_drawn_from_five_seeds_on_and_every_run_below(seeds, is_interval):
    frame = frame_of(seeds)
    ranking, profiles, pareto = (
        figures_for(frame)[name](frame) for name in ("ranking", "profiles", "pareto")
    )
    for figure in (ranking, profiles, *[pareto] * 3):
        assert bool(figure.axes[0].collections) == is_interval
    for figure, marker in ((ranking, "|"), (pareto, "_")):
        drawn = [len(line.get_xydata()) for line in figure.axes[0].lines if line.get_marker() == marker]
        assert sum(drawn) == (0 if is_interval else 3 * 2 * seeds)
        assert ("one run, of few seeds" in labels(figure)) != is_interval


def test_a_profile_is_drawn_as_its_table_has_it():
    frame = frame_of(5)
    table = all_tables(frame)["profiles"].values.set_index("architecture")
    (axes,) = figures_for(frame)["profiles"](frame).axes
    found = looks(frame.architecture)
    for name, look in found.items():
        (line,) = [
            line for line in axes.lines if line.get_color() == look.colour and line.get_marker() == "None"
        ]
        drawn = dict(zip(np.round(line.get_xdata(), 2), line.get_ydata(), strict=True))
        for mark in (0.25, 0.5, 0.75, 0.9):
            assert drawn[mark] == pytest.approx(table.loc[name, f"> {mark:g}"])


def test_front_by_hand():
    # Cheap and poor, dearer and better, dearer than that and no better, best, as good for as much.
    assert front([1, 2, 3, 4, 4], [0.2, 0.6, 0.6, 0.9, 0.9]) == [True, True, False, True, True]
    assert front([], []) == []


def test_a_memory_is_on_the_front_if_none_has_its_success_for_its_price():
    frame = frame_of(5, gru=500.0, lstm=2000.0, mamba=1000.0)
    table = pareto_table(frame).values.set_index("architecture")
    assert table.seconds_per_million_steps.to_dict() == {"gru": 2000, "lstm": 500, "mamba": 1000}
    assert table.on_front_of_seconds_per_million_steps.all()
    assert table.on_front_of_parameters.to_dict() == {"gru": True, "lstm": False, "mamba": False}
    assert table.on_front_of_state_bytes.to_dict() == {"gru": True, "lstm": False, "mamba": True}
    panels = figures_for(frame)["pareto"](frame).axes
    steps = [line for line in panels[2].lines if line.get_drawstyle() == "steps-post"]
    (line,) = steps
    assert line.get_xdata()[:2].tolist() == [50, 100]
    assert line.get_ydata() == pytest.approx([0.7, 0.8, 0.8])


def test_the_oracle_does_not_compete():
    records = [make_record("gru", success=0.6), revealing(make_record("oracle", state_bytes=1))]
    table = pareto_table(tidy(to_frame(records))).values.set_index("architecture")
    assert table.on_front_of_state_bytes.to_dict() == {"gru": True, "oracle": False}


def test_the_legend_says_which_memory_has_no_point():
    records = [make_record("gru", horizon=20), make_record("lstm", horizon=5), make_record("gru", horizon=5)]
    figure = figures_for(tidy(to_frame(records)))["pareto"](tidy(to_frame(records)))
    entries = [entry.get_text() for entry in figure.legends[0].get_texts()]
    assert {"GRU", "LSTM: no price in the last cell"} <= set(entries)


def test_a_memory_that_lacks_runs_in_a_cell_does_not_compete():
    hard = {"status": "unsolved", "success": 0.6}
    records = [make_record("gru", 5), make_record("gru", 20, **hard), make_record("lstm", 20, success=0.8)]
    frame = tidy(to_frame(records))
    table = pareto_table(frame).values.set_index("architecture")
    assert table.on_front_of_parameters.to_dict() == {"gru": True, "lstm": False}
    assert "LSTM: not in every cell" in labels(figures_for(frame)["pareto"](frame))


def test_memories_of_which_none_ran_in_every_cell_have_no_front():
    frame = tidy(to_frame([make_record("gru", 5), make_record("lstm", 20)]))
    assert "pareto" not in all_tables(frame) and "pareto" not in figures_for(frame)


def test_success_over_settings_has_no_price():
    records = [run_with("memory.num_layers", layers, name) for layers in (1, 2) for name in ("gru", "lstm")]
    frame = tidy(to_frame(records))
    assert "pareto" not in all_tables(frame) and "pareto" not in figures_for(frame)
    assert "improvement" in all_tables(frame) and "ranking" in figures_for(frame)


def test_a_price_that_was_not_measured_is_no_point():
    records = [make_record("gru"), make_record("lstm", status="failed", error="its process ended")]
    frame = tidy(to_frame(records))
    table = pareto_table(frame).values.set_index("architecture")
    assert np.isnan(table.loc["lstm", "parameters"]) and not table.loc["lstm", "on_front_of_parameters"]
    assert figures_for(frame)["pareto"](frame).axes
    nothing = tidy(
        to_frame([make_record(name, status="failed", error="its process ended") for name in ("gru", "lstm")])
    )
    assert figures_for(nothing)["pareto"](nothing).axes


def test_of_many_memories_each_has_its_panel_and_its_line_in_the_legend():
    frame = tidy(to_frame(many_memories()))
    figures = figures_for(frame)
    names = [look.name for look in looks(frame.architecture).values()]
    assert [axes.get_title() for axes in figures["profiles"](frame).axes] == names
    assert labels(figures["pareto"](frame))[: len(names)] == names


@pytest.mark.parametrize("name", ["ranking", "profiles", "pareto"])
def test_the_legend_lies_outside_the_data(name):
    frame = tidy(to_frame(five_memories()))
    with style():
        figure = figures_for(frame)[name](frame)
        figure.draw_without_rendering()
    (box,) = [legend.get_window_extent() for legend in figure.legends]
    for axes in figure.axes:
        assert not box.overlaps(axes.get_window_extent())
