"""What was seen inside an agent -> figures."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from torch import Tensor

from membench.inspect.heatmaps import attention_figure, episode_figure
from membench.inspect.interventions import OTHERS
from membench.inspect.looking import WHOLE_STATE, Inspection
from membench.inspect.phases import hidden_changes
from membench.inspect.utilisation import HEALTHY_NORM, HEALTHY_SATURATION
from membench.report.looks import OTHER_COLOURS, OWN_COLOURS
from membench.report.panels import GREY, WIDTH, large_numbers, note, say_nothing_here
from membench.report.text import one_line

COLOURS = (*OWN_COLOURS, *OTHER_COLOURS)
"""Of the parts of a state, the same in every figure."""
ANSWER_COLOURS = (*OTHER_COLOURS, *OWN_COLOURS)
MARKERS = "osP^DvXph<>"

HEALTHY = "#DDEFE3"

MOST_TRAJECTORIES = 12
"""Episodes with one answer that the figure of the hidden state shows."""


def part_looks(found: Inspection, names: Iterable[str]) -> dict[str, dict]:
    """Return how each of some parts of the state, or places of slots, is drawn, in every figure alike.

    Slots have the colour of the part that they belong to, the whole state is black, and what is left over
    (`OTHERS`) grey.
    """
    shown = [name for name in found.retention if name != WHOLE_STATE]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(shown)}
    shown += [name for name in found.slot_parts if name not in shown]
    looks: dict[str, dict] = {
        name: {
            "color": colours.get(name) or colours[found.part_of_slots(name)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        for place, name in enumerate(shown)
    }
    looks |= {WHOLE_STATE: {"color": "black", "linestyle": ":"}, OTHERS: {"color": GREY, "marker": "x"}}
    return {name: looks[name] for name in names}


def _legend(figure: Figure, looks: dict[str, dict], *notes) -> None:
    lines = [
        note(one_line(name), **{"linestyle": "-", "markersize": 3, **look}) for name, look in looks.items()
    ]
    figure.legend(handles=[*lines, *notes], loc="outside right upper")


def _time(axes: Axes, found: Inspection) -> None:
    """Mark the delay's beginning and the query along an axis of steps."""
    for step in {found.sample.delay - 0.5, found.sample.query - 0.5}:
        axes.axvline(step, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _query_note():
    return note("delay begins, query", linestyle="--", linewidth=0.8)


def utilisation_figure(found: Inspection) -> Figure:
    """Norm and saturation of every part of the state over time, with the document's healthy ranges."""
    figure = Figure(figsize=(WIDTH, 2.6))
    panels = figure.subplots(1, 3 if found.slot_parts else 2)
    looks = part_looks(found, found.utilisation)
    names = ("norm", "saturation", "effective_slots")
    titles = ("mean norm", "share of values beyond 0.1", "effective slots")
    for axes, name, title in zip(panels, names, titles, strict=False):
        for part, measured in found.utilisation.items():
            values = [getattr(one, name) for one in measured]
            if values[0] is not None:
                axes.plot(found.steps, values, markersize=2, linewidth=1, **looks[part])
        axes.set_title(title)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        _time(axes, found)
    if found.slot_parts:
        panels[0].axhspan(*HEALTHY_NORM, color=HEALTHY, zorder=-1)
    panels[1].axhspan(*HEALTHY_SATURATION, color=HEALTHY, zorder=-1)
    panels[1].set_ylim(0, 1)
    healthy = note("healthy, in the\ndocument's words", marker="s", color=HEALTHY, markersize=8)
    _legend(figure, looks, healthy, _query_note())
    return figure


def hidden_figure(found: Inspection) -> Figure:
    """The hidden state's way through an episode in its two leading components, and how fast it moves."""
    figure = Figure(figsize=(WIDTH, 3.0))
    plane, speed = figure.subplots(1, 2)
    components, shares = principal_components(found.hidden)
    answers, names = found.sample.answers, []
    for place, answer in enumerate(answers.unique().tolist()):
        colour = ANSWER_COLOURS[place % len(ANSWER_COLOURS)]
        look = {"color": colour, "marker": MARKERS[place % len(MARKERS)]}
        ways = components[:, answers == answer][:, :MOST_TRAJECTORIES]
        plane.plot(ways[..., 0], ways[..., 1], color=colour, linewidth=0.7, alpha=0.6)
        plane.plot(ways[-1, :, 0], ways[-1, :, 1], linestyle="none", markersize=5, **look)
        if place < len(ANSWER_COLOURS):
            names.append((f"answer {answer}", look))
    plane.plot(*components[0].mean(0), "*", color="black", markersize=8)
    plane.set_xlabel(f"first component ({shares[0]:.0%} of variance)")
    plane.set_ylabel(f"second component ({shares[1]:.0%})")
    plane.grid(visible=True, axis="both")
    speed.plot(
        found.steps[1:], hidden_changes(found)[1:], markersize=2, **part_looks(found, ["hidden"])["hidden"]
    )
    speed.set_ylabel("change per step / norm")
    speed.set_ylim(bottom=0)
    _time(speed, found)
    first = note("mean after step 0", marker="*", color="black", markersize=8)
    _legend(figure, dict(names), first, _query_note())
    return figure


def principal_components(hidden: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden states [t b h] in two leading components [t b 2], and the variance shares of these."""
    flat = hidden.flatten(0, 1).double()
    centred = torch.nan_to_num(flat - flat.mean(0))
    values, directions = torch.linalg.eigh(centred.T @ centred)
    leading = directions[:, -2:].flip(1)
    leading = leading * leading.gather(0, leading.abs().argmax(0, keepdim=True)).sign()  # of no chance sign
    shares = values[-2:].flip(0) / values.sum().clamp(min=1e-12)
    return (centred @ leading).unflatten(0, hidden.shape[:2]).numpy(), shares.numpy()


def retention_figure(found: Inspection) -> Figure:
    """Accuracy of the probes over the episode: the forgetting curve."""
    figure = Figure(figsize=(WIDTH, 2.8))
    axes = figure.subplots()
    looks = part_looks(found, found.retention)
    for name, one in found.retention.items():
        axes.plot(one.steps, one.accuracy, linewidth=1, markersize=3, **looks[name])
    chance = next(iter(found.retention.values())).chance
    axes.axhline(chance, color=GREY, linewidth=0.8)
    axes.plot(found.sample.query, found.success, "*", color="black", markersize=9, clip_on=False, zorder=5)
    axes.set(ylim=(0, 1.05), ylabel="accuracy on other episodes")
    _time(axes, found)
    answer = note("the agent's answers", marker="*", color="black", markersize=8)
    _legend(figure, looks, answer, note("chance", linestyle="-", linewidth=0.8), _query_note())
    return figure


def reach_figure(found: Inspection) -> Figure:
    """The gradient of the latent at the query in the observation of every step, before and after training."""
    figure = Figure(figsize=(WIDTH, 2.6))
    axes = figure.subplots()
    curves = {"after training": (found.reach, "black", "-")}
    if found.reach_before is not None:
        curves["before training"] = (found.reach_before, GREY, "--")
    for label, (reach, colour, style) in curves.items():
        positive = np.where(reach > 0, reach, np.nan)
        axes.plot(range(len(reach)), positive, style, marker="o", markersize=2, color=colour, label=label)
    if any(bool((reach > 0).any()) for reach, *_ in curves.values()):
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, high / 10), high)
        for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formatted(FuncFormatter(lambda value, _: f"{value:.2g}"))
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if _decades(axes) < 3 else ()))
    else:
        say_nothing_here(axes, "no gradient at any step")
    axes.set_ylabel("norm of the gradient")
    _time(axes, found)
    looks = {label: {"color": colour, "linestyle": style} for label, (_, colour, style) in curves.items()}
    _legend(figure, looks, _query_note())
    return figure


def _decades(axes: Axes) -> float:
    low, high = axes.get_ylim()
    return float(np.log10(high / low))


def interventions_figure(found: Inspection) -> Figure:
    """Causal shares of the state's parts over the delay, and the effect of single slots in its middle."""
    figure = Figure(figsize=(WIDTH, 2.8))
    slots = found.middle.slots if found.middle else []
    panels = np.atleast_1d(figure.subplots(1, 2 if slots else 1))
    names = dict.fromkeys(part.name for one in found.swaps for part in one.parts)
    looks = part_looks(found, names)
    for name in names:
        shares = [(one.step, part.share) for one in found.swaps for part in one.parts if part.name == name]
        panels[0].plot(*zip(*shares, strict=True), linewidth=1, markersize=4, **looks[name])
    panels[0].set(ylabel="causal share", ylim=(-0.1, 1.1))
    _time(panels[0], found)
    if slots:
        several = len({one.memory for one in slots}) > 1
        labels = [
            f"{one.memory.rpartition('.')[2]} {one.slot}" if several else str(one.slot) for one in slots
        ]
        panels[1].bar(range(len(slots)), [one.effect for one in slots], color=GREY)
        panels[1].set_xticks(range(len(slots)), labels, rotation=90)
        panels[1].set(xlabel="slot", ylabel="effect of swapping it alone")
    _legend(figure, looks, _query_note())
    return figure


def training_figure(curve: list) -> Figure:
    """What was measured during training, evaluation by evaluation."""
    steps = [point.steps for point in curve]
    figure = Figure(figsize=(WIDTH, 3.6))
    for axes, (title, field) in zip(figure.subplots(2, 4, sharex=True).flat, TRAINING.items(), strict=True):
        values = [getattr(point, field) for point in curve]
        known = np.array([np.nan if value is None else value for value in values], dtype=float)
        axes.plot(steps, known, marker="o", markersize=2, linewidth=1, color="black")
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        large_numbers(axes.xaxis)
        if np.isnan(known).all():
            axes.set_yticks([])
            say_nothing_here(axes, "not recorded")
    figure.supxlabel("training steps", fontsize="medium")
    return figure


TRAINING = {
    "success (greedy)": "success",
    "entropy (nats)": "entropy",
    "explained variance": "explained_variance",
    "KL divergence": "kl",
    "clip fraction": "clip_fraction",
    "gradient norm": "grad_norm",
    "memory: mean norm": "memory_norm",
    "memory: saturation": "memory_saturation",
}
"""Title -> field of a point of the learning curve."""


def figures_for(found: Inspection, curve: list) -> dict[str, Callable[[], Figure]]:
    """Return the figures that apply, by name."""
    drawn: dict[str, Callable[[], Figure]] = {
        "utilisation": lambda: utilisation_figure(found),
        "hidden": lambda: hidden_figure(found),
        "retention": lambda: retention_figure(found),
        "reach": lambda: reach_figure(found),
        "episode": lambda: episode_figure(found),
    }
    if found.attention:
        drawn["attention"] = lambda: attention_figure(found)
    if any(one.parts for one in found.swaps) and not found.shares_say_nothing:
        drawn["interventions"] = lambda: interventions_figure(found)
    if curve:
        drawn["training"] = lambda: training_figure(curve)
    return drawn
