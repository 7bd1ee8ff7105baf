"""Capacity: how many bits each memory recalled, by horizon and by what was shown; a table and a figure."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from membench.report import text
from membench.report.frame import cells, name_of, varying_settings
from membench.report.looks import looks
from membench.report.panels import WIDTH
from membench.report.tables import KEY, Table, shown_key

MAPS_PER_ROW = 3


def capacity_table(frame: pd.DataFrame) -> Table:
    """Return the bits recalled by architecture and cell: mean over runs, and how many were shown."""
    rows = [
        cell.key
        | {
            "bits": cell.runs.bits.mean(),
            "bits_shown": cell.runs.bits_shown.iloc[0],
            "by_seed": " ".join(map(str, cell.runs.bits)),
        }
        for cell in cells(frame)
    ]
    values = pd.DataFrame(rows, columns=[*KEY, "bits", "bits_shown", "by_seed"])
    shown = shown_key(values, frame) | {
        "Bits recalled": values.bits.map(text.tenths),
        "Bits shown": values.bits_shown.map(text.tenths),
        "Every seed": [
            " ".join(text.tenths(float(one)) for one in seeds.split()) for seeds in values.by_seed
        ],
    }
    return Table(values, pd.DataFrame(shown))


def capacity_figure(frame: pd.DataFrame) -> Figure:
    """A map per memory: bits recalled, mean over seeds, coloured by their share of the bits shown."""
    found = looks(frame.architecture)
    num_columns = min(MAPS_PER_ROW, len(found))
    num_rows = -(-len(found) // num_columns)
    sizes = varying_settings(frame)
    frame = frame.fillna(dict.fromkeys(sizes, 0))  # a size that was not chosen is one row of the map
    rows = ["num_items", "num_cues", *sizes]
    height = 0.9 + 0.34 * len(frame[rows].drop_duplicates())
    figure = Figure(figsize=(WIDTH, num_rows * height + 0.3))
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(found) :]:
        axes.remove()
    image = None
    for axes, (name, look) in zip(grid.flat, found.items(), strict=False):
        image = _map(axes, frame, name, rows)
        axes.set_title(look.name)
    if image is not None:
        num_seeds = frame.seed.nunique()
        seeds = "one seed" if num_seeds == 1 else f"mean of {num_seeds} seeds"
        figure.colorbar(image, ax=grid, label=f"bits recalled / bits shown, {seeds}")
    figure.supxlabel("horizon (steps between last cue and first query)", fontsize="medium")
    figure.supylabel("items x cues", fontsize="medium")
    return figure


def _map(axes: Axes, frame: pd.DataFrame, architecture: str, rows: list[str]) -> AxesImage:
    """Draw one memory's map; every memory's has the same rows and columns."""
    shown = frame.groupby(rows).bits_shown.first()
    horizons = sorted(set(frame.first_horizon))
    runs = frame.loc[frame.architecture == architecture]
    bits = runs.pivot_table(index=rows, columns="first_horizon", values="bits", aggfunc="mean")
    bits = bits.reindex(index=shown.index, columns=horizons)
    shares = bits.div(shown, axis=0).to_numpy()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="cividis", aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(bits.to_numpy()):
        colour = "black" if shares[row, column] > 0.6 else "white"
        label = "" if np.isnan(value) else text.tenths(value)
        axes.text(column, row, label, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(horizons)), [str(horizon) for horizon in horizons])
    axes.set_yticks(range(len(shown)), [_row_name(row, rows) for row in shown.index])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return image


def _row_name(row: tuple[float, ...], names: list[str]) -> str:
    items, cues, *sizes = row
    chosen = [name_of(name, size) for name, size in zip(names[2:], sizes, strict=True) if size]
    return ", ".join([f"{items:.0f} x {cues:.0f}", *chosen])
