"""What was seen inside an agent -> heatmaps: of attention, and of one episode step by step."""

import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from membench.inspect.attention import Attention
from membench.inspect.looking import Inspection
from membench.report.panels import WIDTH

HEAT = "inferno"
"""The document's `hot` with steps of lightness that are even."""

MOST_PLACES = 64
"""Slots that a heatmap shows: of more, those with the most weight."""

MOST_ATTENTIONS = 4
"""Memories or layers, each with reading or writing, that are drawn; the table has all of them."""

MOST_UNITS = 16
"""Units of the hidden state that the figure of one episode shows."""


def attention_figure(found: Inspection) -> Figure:
    """Every attention as heatmaps: heads by places at the query, and steps by places."""
    shown = found.attention[:MOST_ATTENTIONS]
    figure = Figure(figsize=(WIDTH, 0.5 + 1.9 * len(shown)))
    grid = figure.subplots(len(shown), 2, squeeze=False)
    for (at_query, over_time), one in zip(grid, shown, strict=True):
        chosen = _places(one)
        weights = one.mean[..., chosen]
        _heatmap(figure, at_query, weights[-1], f"{one.name}, at the query")
        at_query.set_ylabel("head")
        at_query.set_yticks(range(weights.shape[1]))
        _heatmap(figure, over_time, weights.mean(1), f"{one.name}, over time")
        over_time.set_ylabel("step")
        _label_steps(over_time.yaxis, one.steps)
        for axes in (at_query, over_time):
            axes.set_xlabel("slot" if one.places == "slots" else "step attended to")
            _label_steps(axes.xaxis, chosen)
    return figure


def _places(one: Attention) -> list[int]:
    """Return the places to show: all, or of many those with the most weight at any step, in order."""
    most = one.mean.amax((0, 1))
    if len(most) <= MOST_PLACES or one.places == "steps":
        return list(range(len(most)))
    return sorted(most.argsort(descending=True)[:MOST_PLACES].tolist())


def _label_steps(axis: Axis, names: list[int]) -> None:
    """Label an axis of rows or columns by some of the numbers that they stand for."""
    every = max(1, -(-len(names) // 6))
    axis.set_ticks(range(0, len(names), every), [str(name) for name in names[::every]])


def _heatmap(figure: Figure, axes: Axes, values: Tensor, title: str, unit: str = "weight") -> None:
    image = axes.imshow(
        values.numpy(), aspect="auto", cmap=HEAT, vmin=0, interpolation="nearest", rasterized=True
    )
    figure.colorbar(image, ax=axes, label=unit, pad=0.02)
    axes.set_title(title)
    axes.grid(visible=False)


def episode_figure(found: Inspection) -> Figure:
    """One episode, step by step: what came in, an excerpt of the state, writing, reading, the policy."""
    rows: list[tuple[str, Tensor, str]] = [
        ("input", found.sample.observations[0, found.steps].T, "feature"),
        ("hidden state, first units", found.hidden[:, 0, :MOST_UNITS].T, "unit"),
    ]
    own = found.answer_place(0)
    for one in found.attention[:MOST_ATTENTIONS]:
        weights = one.weights[:, own].mean(1)[:, _places(one)]
        rows.append((f"{one.name}: weight of {one.places}", weights.T, one.places.removesuffix("s")))
    rows.append(
        ("policy", torch.stack([found.policy(place)[0] for place in range(len(found.steps))]).T, "action")
    )
    figure = Figure(figsize=(WIDTH, 0.4 + 1.25 * len(rows)))
    grid = figure.subplots(len(rows), 1, sharex=True)
    for axes, (title, values, unit) in zip(grid, rows, strict=True):
        limit = float(values.abs().max()) or 1.0
        signed = bool((values < 0).any())
        image = axes.imshow(
            values.numpy(),
            aspect="auto",
            cmap="RdBu_r" if signed else HEAT,
            vmin=-limit if signed else 0,
            vmax=limit,
            interpolation="nearest",
            rasterized=True,
        )
        figure.colorbar(image, ax=axes, pad=0.01)
        axes.set_title(title)
        axes.set_ylabel(unit)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(visible=False)
    grid[-1].set_xlabel("step")
    _label_steps(grid[-1].xaxis, found.steps)
    return figure
