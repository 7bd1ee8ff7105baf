"""The table of the deep dive's remedies for vanishing and exploding gradients: what reaches the cue."""

import math

import pandas as pd

from membench.report import text
from membench.report.differences import GRADIENT
from membench.report.frame import cells, is_lost, num_solved, varying_settings
from membench.report.judging import Finding, larger, runs_with_both, verdict
from membench.report.looks import display_name
from membench.report.tables import KEY, Table, shown_key

CLIP = "ppo.max_grad_norm"
REMEDIES = {CLIP, "memory.residual", "memory.layer_norm"}
"""Settings that the deep dive names as remedies; gates are a matter of the memory."""

SHARES = ("before", "after")


def has_gradient_flow(frame: pd.DataFrame) -> bool:
    """Return whether a tidy frame holds runs with and without a remedy, and how much gradient they had."""
    return not REMEDIES.isdisjoint(varying_settings(frame)) and bool(
        cue_shares(frame, "before").notna().any()
    )


def cue_shares(runs: pd.DataFrame, when: str) -> pd.Series:
    """Return, run by run, the cue's share of the gradient `before` or `after` training; NaN where unknown."""
    return _of_the_cue(runs, when, "share")


def _of_the_cue(runs: pd.DataFrame, when: str, name: str) -> pd.Series:
    found = [math.nan if one is None else getattr(one, name) for one in runs[f"cue_gradient_{when}"]]
    return pd.Series(found, runs.index, dtype=float)


def largest_norm(runs: pd.DataFrame) -> float:
    """Return the largest mean gradient norm of an update, before clipping, that evaluations of runs saw."""
    return max((point.grad_norm for curve in runs.curve for point in curve), default=math.nan)


def gradient_flow_table(frame: pd.DataFrame) -> Table:
    """Return, by architecture and cell, how much gradient reached the cue, and what came of it.

    Medians over runs; the share of runs that diverged counts all of them.
    """
    rows = []
    for cell in cells(frame):
        row = cell.key | {
            "solved": num_solved(cell.runs),
            "diverged": float(is_lost(cell.runs).mean()),
            "mean": cell.runs.counted_success.mean(),
        }
        for when in SHARES:
            row[f"cue_norm_{when}"] = _of_the_cue(cell.runs, when, "norm").median()
            row[f"cue_share_{when}"] = cue_shares(cell.runs, when).median()
        rows.append(row | {"largest_norm": largest_norm(cell.runs)})
    measured = [f"cue_{name}_{when}" for when in SHARES for name in ("norm", "share")]
    values = pd.DataFrame(rows, columns=[*KEY, "solved", "diverged", "mean", *measured, "largest_norm"])
    shown = shown_key(values, frame) | {
        "Solved": values.solved.map(str),
        "Diverged": values.diverged.map(text.share),
        "Mean success": values["mean"].map(text.share),
        "Gradient at the cue, untrained": values.cue_norm_before.map(text.two_digits),
        "Its share, untrained": values.cue_share_before.map(text.two_digits),
        "Gradient at the cue, trained": values.cue_norm_after.map(text.two_digits),
        "Its share, trained": values.cue_share_after.map(text.two_digits),
        "Largest norm in training": values.largest_norm.map(text.two_digits),
    }
    return Table(values, pd.DataFrame(shown))


def gates_preserve_gradients(frame: pd.DataFrame) -> Finding | None:
    """Judge whether more of the gradient reaches the cue in a GRU than in an RNN, both untrained."""
    if CLIP in frame:
        frame = frame.loc[frame[CLIP] > 0]  # what is clipped later is the same before
    return larger("cue_share", "gru", "rnn", text.two_digits, GRADIENT)(
        frame.assign(cue_share=cue_shares(frame, "before"))
    )


def clipping_prevents_explosion(frame: pd.DataFrame) -> Finding | None:
    """Judge whether fewer runs diverge with clipping than without, memory by memory; ties tell nothing."""
    if CLIP not in frame:
        return None
    frame = runs_with_both(frame, CLIP, {0.0, 1.0})
    agreed, measured = [], []
    for name, runs in frame.groupby("architecture", sort=False):
        sides = [runs.loc[runs[CLIP] == norm] for norm in (1.0, 0.0)]
        clipped, free = (is_lost(side).mean() for side in sides)
        agreed.append(None if clipped == free else clipped < free)
        told = [
            f"{is_lost(side).sum()} of {len(side)} (largest norm {text.two_digits(largest_norm(side))})"
            for side in sides
        ]
        measured.append(f"{display_name(str(name))} {told[0]}, unclipped {told[1]}")
    return Finding(f"diverged: {'; '.join(measured)}", verdict(agreed), len(frame)) if measured else None
