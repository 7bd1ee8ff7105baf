"""The table of the deep dive's remedies for vanishing and exploding gradients: what reaches the cue."""

import math

import pandas as pd

from membench.report import text
from membench.report.differences import GRADIENT, order_of_counts
from membench.report.frame import cells, num_solved, varying_settings
from membench.report.judging import Finding, agrees, larger, runs_with_both, verdict
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

    Medians over runs; the share of runs that diverged is one of those that did not fail, which might have.
    """
    rows = []
    for cell in cells(frame):
        row = cell.key | {
            "solved": num_solved(cell.runs),
            "diverged": float((without_failed(cell.runs).status == "diverged").mean()),
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


def without_failed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that did not fail: of one whose process ended nobody knows whether it had diverged."""
    return runs.loc[runs.status != "failed"]


def gates_preserve_gradients(frame: pd.DataFrame) -> Finding | None:
    """Judge whether more of the gradient reaches the cue in a GRU than in an RNN, both untrained."""
    if CLIP in frame:
        frame = frame.loc[frame[CLIP] > 0]  # what is clipped later is the same before
    return larger("cue_share", "gru", "rnn", text.two_digits, GRADIENT)(
        frame.assign(cue_share=cue_shares(frame, "before"))
    )


def clipping_prevents_explosion(frame: pd.DataFrame) -> Finding | None:
    """Judge whether fewer runs diverge with clipping than without, memory by memory; ties tell nothing.

    Runs that failed are left out, and the finding says how many.
    """
    if CLIP not in frame:
        return None
    num_failed = int((frame.status == "failed").sum())
    frame = runs_with_both(without_failed(frame), CLIP, {0.0, 1.0})
    agreed, measured = [], []
    for name, runs in frame.groupby("architecture", sort=False):
        sides = [runs.loc[runs[CLIP] == norm] for norm in (1.0, 0.0)]
        clipped, free = [int((side.status == "diverged").sum()) for side in sides]
        agreed.append(agrees(order_of_counts(free, len(sides[1]), clipped, len(sides[0]))))
        told = [
            f"{diverged} of {len(side)} (largest norm {text.two_digits(largest_norm(side))})"
            for diverged, side in zip((clipped, free), sides, strict=True)
        ]
        measured.append(f"{display_name(str(name))} {told[0]}, unclipped {told[1]}")
    if not measured:
        return None
    left_out = f"; left out: {num_failed} that failed" if num_failed else ""
    return Finding(f"diverged: {'; '.join(measured)}{left_out}", verdict(agreed), len(frame))
