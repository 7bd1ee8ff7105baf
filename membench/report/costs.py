"""What memories cost to train, from `membench bench`: tables and a figure."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from membench.bench import Cost, Exponent, Measurements, cost_exponent
from membench.config import RunConfig
from membench.errors import InputError
from membench.folders import atomic_writer
from membench.report import text
from membench.report.files import style, write_figure, write_table
from membench.report.looks import Look, display_name, in_order, looks
from membench.report.panels import WIDTH, large_numbers, legend, legend_height, note
from membench.report.tables import Table
from membench.untrusted import decode, read_file

MEBIBYTE = 2**20
COSTS_FILE = "costs.json"
UNFINISHED_FILE = "costs-unfinished.json"
"""What measuring has come to so far: it takes the place of `COSTS_FILE` once it is whole."""

MEASURED = [name for name in Cost.__struct_fields__ if name != "config"]


def to_frame(costs: list[Cost]) -> pd.DataFrame:
    """Return one row per measurement, memories in their usual order, horizons ascending."""
    rows = [
        {
            "architecture": cost.config.architecture,
            "horizon": cost.config.task.horizon,
            "num_envs": cost.config.ppo.num_envs,
            **{name: getattr(cost, name) for name in MEASURED},
            "steps_per_second": cost.steps_per_second,
            "share_of_limit": cost.share_of_limit,
        }
        for cost in costs
    ]
    frame = pd.DataFrame(rows)
    places = {name: place for place, name in enumerate(in_order(frame.architecture))}
    return frame.sort_values(
        ["architecture", "horizon"],
        key=lambda column: column.map(places) if column.name == "architecture" else column,
        ignore_index=True,
    )


def has_several_horizons(frame: pd.DataFrame) -> bool:
    """Return whether growth with the horizon can be fitted."""
    return len(set(frame.horizon)) > 1


def costs_table(frame: pd.DataFrame) -> Table:
    """Return speed and memory by memory and horizon."""
    shown = {
        "Memory": frame.architecture.map(display_name),
        "Horizon": frame.horizon.map(str),
        "Envs": frame.num_envs.map(text.count),
        "Steps/s": frame.steps_per_second.map(text.rounded),
        "Of limit": frame.share_of_limit.map(text.share),
        "Peak memory": frame.memory_bytes.map(text.size),
        "Acting ms/step": (1e3 * frame.seconds_per_acting_step).map(text.share),
    }
    values = frame.assign(seconds=[" ".join(map(str, seconds)) for seconds in frame.seconds])
    return Table(values, pd.DataFrame(shown))


def exponents_table(frame: pd.DataFrame) -> Table:
    """Return how time and memory per episode grow with the horizon, fitted; needs two horizons at least."""
    rows = []
    for architecture, measured in frame.groupby("architecture", sort=False):
        time = _fit(measured.horizon, 1 / measured.steps_per_second)
        memory = _fit(measured.horizon, measured.memory_bytes)
        rows.append({"architecture": architecture} | _fitted("time", time) | _fitted("memory", memory))
    values = pd.DataFrame(rows)
    shown = {"Memory": values.architecture.map(display_name)}
    for name in ("time", "memory"):
        shown[f"{name.capitalize()} ~ horizon^k, k"] = pd.Series(
            [
                shown_exponent(row[f"{name}_exponent"], row[f"{name}_low"], row[f"{name}_high"])
                for row in rows
            ],
            dtype=str,
        )
    return Table(values, pd.DataFrame(shown))


def shown_exponent(exponent: float, low: float, high: float) -> str:
    """Return a fitted exponent with its interval, if it has one."""
    if math.isnan(exponent):
        return text.NOTHING
    return f"{exponent:.2f}" if math.isnan(low) else f"{exponent:.2f} ({low:.2f}–{high:.2f})"


def _fit(horizons: pd.Series, costs: pd.Series) -> Exponent:
    """Fit the growth; NaN where a cost was too small to be seen, which has no logarithm."""
    return cost_exponent(horizons.tolist(), costs.tolist()) if (costs > 0).all() else Exponent(math.nan, None)


def _fitted(name: str, exponent: Exponent) -> dict[str, float]:
    low, high = exponent.interval or (float("nan"), float("nan"))
    return {f"{name}_exponent": exponent.value, f"{name}_low": low, f"{name}_high": high}


def costs_figure(frame: pd.DataFrame) -> Figure:
    """Throughput and peak memory against the horizon, a line per memory, every timed iteration a point."""
    found = looks(frame.architecture)
    figure = Figure(figsize=(WIDTH, legend_height(found, 3.2)))
    speed, memory = figure.subplots(1, 2)
    for name, look in found.items():
        _lines(speed, memory, frame.loc[frame.architecture == name], look)
    horizons = sorted(set(frame.horizon))
    for axes in (speed, memory):
        axes.set_xscale("log", base=2)
        axes.set_xticks(horizons, [str(horizon) for horizon in horizons], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        large_numbers(axes.yaxis)
    speed.set_ylabel("training steps per second")
    memory.set_ylabel("peak memory above base (MiB)")
    figure.supxlabel("horizon (steps between cue and query)", fontsize="medium")
    legend(figure, found.values(), [note("one timed iteration", marker="_", alpha=0.5)])
    return figure


def _lines(speed: Axes, memory: Axes, measured: pd.DataFrame, look: Look) -> None:
    line: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": look.line}
    speed.plot(measured.horizon, measured.steps_per_second, **line)
    memory.plot(measured.horizon, measured.memory_bytes / MEBIBYTE, **line)
    for horizon, steps, seconds in zip(measured.horizon, measured.num_steps, measured.seconds, strict=True):
        speeds = [steps / one for one in seconds]
        speed.plot([horizon] * len(speeds), speeds, "_", color=look.colour, alpha=0.5)


def find_measurements(folder: Path) -> Path | None:
    """Return the `costs.json` of a results folder, or of a folder in it; None if there is none.

    Raises:
        InputError: if there are several.
    """
    found = sorted(path for pattern in (COSTS_FILE, f"*/{COSTS_FILE}") for path in folder.glob(pattern))
    if len(found) > 1:
        raise InputError(
            f"{folder}: holds measurements twice, {found[0]} and {found[1]}; name one by --bench"
        )
    return found[0] if found else None


def read_measurements(path: Path) -> Measurements:
    """Read and validate a `costs.json`.

    Raises:
        InputError: naming the file and what is wrong, if it cannot be read or holds something else.
    """
    measurements = decode(read_file(path), Measurements, str(path), "measurements of membench bench")
    for number, cost in enumerate(measurements.costs):
        if cost.config.task.horizon < 1:
            raise InputError(f"{path}: costs.{number}.config.task.horizon: 0 must be at least 1")
    return measurements


def kept_costs(results: Path, like: Measurements, configs: list[RunConfig], num_rounds: int) -> list[Cost]:
    """Return what an interrupted measurement left of the one that shall be made.

    Args:
        results: the results folder.
        like: the machine and versions that it must be of.
        configs: what shall be measured.
        num_rounds: the iterations that are timed of each.

    Raises:
        InputError: if what is there cannot be read.
    """
    path = results / UNFINISHED_FILE
    if not path.exists():
        return []
    found, wanted = read_measurements(path), {config.run_id for config in configs}
    if (found.machine, found.versions) != (like.machine, like.versions):
        return []
    return [cost for cost in found.costs if cost.config.run_id in wanted and len(cost.seconds) == num_rounds]


def write_measurements(results: Path, measurements: Measurements, *, finished: bool = True) -> None:
    """Write measurements into a results folder: `costs.json`, or what is not finished beside it."""
    path = results / UNFINISHED_FILE
    with atomic_writer(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(measurements), indent=1))
    if finished:
        path.replace(results / COSTS_FILE)


def write_tables_and_figure(results: Path, costs: list[Cost]) -> list[Path]:
    """Write the tables and the figure of some measurements into a results folder; return the files."""
    frame = to_frame(costs)
    files = write_table(results, "costs", costs_table(frame))
    if has_several_horizons(frame):
        files += write_table(results, "exponents", exponents_table(frame))
    else:  # those of an earlier measurement would contradict this one
        for path in results.glob("exponents.*"):
            path.unlink()
    with style():
        return files + write_figure(results, "costs", costs_figure(frame))
