"""The deep dive's presets side by side: what each cost and what came of it."""

import pandas as pd

from membench.config import flatten
from membench.report import text
from membench.report.frame import cells, num_solved
from membench.report.judging import Finding, agrees, verdict
from membench.report.looks import display_name
from membench.report.measures import order_of, training_speed
from membench.report.sizes import shown_sizes, size_columns, sizes
from membench.report.tables import KEY, Table, shown_key
from membench.suite import list_presets, load_preset


def preset_of(run: pd.Series) -> str | None:
    """Return the preset whose settings all are those of a run of a tidy frame; None if there is none.

    Of several, that which states most: the settings of one can be a part of another's.
    """
    stated = {name: flatten(load_preset(name).settings_for(run.architecture)) for name in list_presets()}
    followed = [
        name for name, settings in stated.items() if settings and settings.items() <= run.settings.items()
    ]
    return max(followed, key=lambda name: len(stated[name]), default=None)


def has_presets(frame: pd.DataFrame) -> bool:
    """Return whether a tidy frame holds runs under more than one preset."""
    firsts = [cell.runs.iloc[0] for cell in cells(frame)]
    return len({preset_of(run) for run in firsts} - {None}) > 1


def presets_table(frame: pd.DataFrame) -> Table:
    """Return, by architecture and cell, the preset, what it cost, medians, and mean success."""
    medians = ["steps_per_second", "cpu_seconds", "peak_memory_bytes"]
    rows = [
        cell.key
        | {"preset": preset_of(cell.runs.iloc[0]) or text.NOTHING}
        | {"solved": num_solved(cell.runs), "mean": cell.runs.counted_success.mean()}
        | {"steps": cell.runs.steps.median()}
        | cell.runs[medians].median().to_dict()
        | sizes(cell.runs, "parameters")
        for cell in cells(frame)
    ]
    parameters = size_columns("parameters")
    values = pd.DataFrame(rows, columns=[*KEY, "preset", "solved", "mean", "steps", *medians, *parameters])
    shown = shown_key(values, frame) | {
        "Preset": values.preset,
        "Solved": values.solved.map(str),
        "Mean success": values["mean"].map(text.share),
        "Steps": values.steps.map(text.count),
        "Training steps/s": values.steps_per_second.map(text.rounded),
        "Processor seconds": values.cpu_seconds.map(text.seconds),
        "Parameters": shown_sizes(values, "parameters"),
        "Peak memory": values.peak_memory_bytes.map(text.size),
    }
    return Table(values, pd.DataFrame(shown))


def cpu_preset_is_faster(frame: pd.DataFrame) -> Finding | None:
    """Judge whether the preset for a CPU trains faster there than the deep dive's usual values."""
    on_cpu = frame.loc[frame.device == "cpu"]
    speeds: dict[str, dict[str, pd.DataFrame]] = {}
    for cell in cells(on_cpu):
        if preset := preset_of(cell.runs.iloc[0]):
            speeds.setdefault(cell.architecture, {})[preset] = cell.runs
    pairs = {name: found for name, found in speeds.items() if {"doc", "doc-cpu"} <= found.keys()}
    if not pairs:
        return None
    agreed, measured = [], []
    for name, found in pairs.items():
        fast, usual = (training_speed(found[preset]) for preset in ("doc-cpu", "doc"))
        agreed.append(agrees(order_of(fast, usual)))
        measured.append(f"{display_name(name)} {fast.shown} against {usual.shown}")
    num_runs = sum(len(found[preset]) for found in pairs.values() for preset in ("doc", "doc-cpu"))
    return Finding("; ".join(measured), verdict(agreed), num_runs)
