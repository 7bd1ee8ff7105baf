"""Success at horizons that were never trained: a table and a figure."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from membench import stats
from membench.report import text
from membench.report.frame import Cell, cell_names, cells, differ_by_horizon_only, success_by_seed
from membench.report.judging import Finding, Judge, verdict_of_seeds
from membench.report.looks import Look, looks
from membench.report.panels import GREY, WIDTH, chance_line, chance_note, legend, note
from membench.report.tables import KEY, Table, shown_key


def has_other_horizons(frame: pd.DataFrame) -> bool:
    """Return whether runs of a tidy frame were examined at horizons beside their own."""
    return bool(frame.success_at.map(bool).any())


def success_at(runs: pd.DataFrame) -> Iterator[tuple[int, list[float]]]:
    """Yield every horizon that runs were examined at, and their success there; chance of those lost."""
    for horizon in sorted({horizon for found in runs.success_at for horizon in found}):
        yield (
            horizon,
            [
                float(found.get(horizon, chance))
                for found, chance in zip(runs.success_at, runs.chance, strict=True)
            ],
        )


def _by_seed(cell: Cell, success: list[float]) -> list[float]:
    return success_by_seed(cell.runs.assign(counted_success=success))


def generalisation_table(frame: pd.DataFrame) -> Table:
    """Return success by architecture, cell and test horizon: mean, interval over seeds, every seed."""
    rows, intervals = [], []
    for cell in cells(frame):
        for horizon, success in success_at(cell.runs):
            by_seed = _by_seed(cell, success)
            found = stats.bootstrap_interval(by_seed)
            intervals.append(text.interval(found) if found else stats.why_no_interval([by_seed]))
            low, high = found or (np.nan, np.nan)
            rows.append(
                cell.key
                | {"test_horizon": horizon, "mean": np.mean(success), "interval_low": low}
                | {"interval_high": high, "by_seed": " ".join(map(str, success))}
            )
    measured = ["test_horizon", "mean", "interval_low", "interval_high", "by_seed"]
    values = pd.DataFrame(rows, columns=[*KEY, *measured])
    shown = shown_key(values, frame) | {
        "Test horizon": [
            f"{text.count(tested)} (trained)" if tested == trained else text.count(tested)
            for tested, trained in zip(values.test_horizon, values.horizon, strict=True)
        ],
        "Mean success": values["mean"].map(text.share),
        "95 % interval of the mean": intervals,
        "Every seed": [" ".join(text.share(float(one)) for one in seeds.split()) for seeds in values.by_seed],
    }
    return Table(values, pd.DataFrame(shown))


def generalisation_figure(frame: pd.DataFrame) -> Figure:
    """Success over the horizon of the test: a line per memory through its means, a panel per cell."""
    found, names = looks(frame.architecture), cell_names(frame)
    figure = Figure(figsize=(WIDTH, 0.8 + 2.4 * len(names)))
    prefix = "trained at horizon " if differ_by_horizon_only(frame) else ""
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        runs = frame.loc[frame.cell == name]
        axes.set_title(f"{prefix}{name}")
        chance_line(axes, runs)
        axes.axvline(runs.first_horizon.iloc[0], color=GREY, linestyle=":", linewidth=1)
        for place, cell in enumerate(cells(runs)):
            _line(axes, cell, found[cell.architecture], 1.03 ** (place - (len(found) - 1) / 2))
        _horizon_axis(axes, runs)
    legend(figure, found.values(), [chance_note(), note("trained horizon", color=GREY, linestyle=":")])
    return figure


def _line(axes: Axes, cell: Cell, look: Look, shift: float) -> None:
    """Draw a cell's means, every run below five seeds, and else the intervals; beside those of others."""
    points = list(success_at(cell.runs))
    places = [max(horizon, 0.5) * shift for horizon, _ in points]
    means = [float(np.mean(success)) for _, success in points]
    axes.plot(places, means, color=look.colour, linewidth=1)
    for place, mean, (_, success) in zip(places, means, points, strict=True):
        if interval := stats.bootstrap_interval(_by_seed(cell, success)):
            axes.plot(place, mean, look.marker, color=look.colour)
            axes.vlines(place, *interval, color=look.colour, linewidth=1.6)
        else:
            axes.plot([place] * len(success), success, look.marker, color=look.colour, alpha=0.6, mew=0)


def _horizon_axis(axes: Axes, runs: pd.DataFrame) -> None:
    horizons = [horizon for horizon, _ in success_at(runs)]
    axes.set_xscale("log")
    axes.set_xticks(horizons, [text.count(horizon) for horizon in horizons])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(ylim=(-0.03, 1.05), ylabel="success")
    axes.set_xlabel("horizon of the test (steps between cue and query)")


def holds_on(architecture: str, learned: float) -> Judge:
    """Judge whether runs that get `learned` right at their training's horizon do so at the longest tested."""

    def judge(frame: pd.DataFrame) -> Finding | None:
        runs = frame.loc[(frame.architecture == architecture) & frame.success_at.map(bool)]
        trained = zip(runs.success_at, runs.first_horizon, strict=True)
        runs = runs.loc[[found.get(horizon, 0.0) >= learned for found, horizon in trained]]
        if runs.empty:
            return None
        points = dict(success_at(runs))
        measured = ", ".join(
            f"{text.share(float(np.mean(success)))} at {text.count(horizon)}"
            for horizon, success in points.items()
        )
        agreed = [success >= learned for success in points[max(points)]]
        return Finding(f"success {measured}", verdict_of_seeds(agreed), len(runs))

    return judge
