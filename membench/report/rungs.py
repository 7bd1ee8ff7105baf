"""The table that tells a memory that cannot hold from a harness that cannot teach it."""

import pandas as pd

from membench.report.frame import CELL_COLUMNS, budget_names, num_solved, unequal_budgets
from membench.report.looks import display_name
from membench.report.tables import Table

RUNGS = {"supervised": "Answers told", "revealed": "Cue shown again", "ppo": "PPO"}
"""The same task and model, with everything but holding taken away, with holding taken away, and whole."""

TASK = [name for name in CELL_COLUMNS if name not in ("objective", "reveal_cue")]


def has_rungs(frame: pd.DataFrame) -> bool:
    """Return whether a tidy frame holds runs on other rungs than PPO."""
    return bool((_rung(frame) != "ppo").any())


def rungs_table(frame: pd.DataFrame) -> Table:
    """Return, by architecture, task and budget, how many runs solved each rung and what follows."""
    frame = frame.assign(rung=_rung(frame))
    rows, budgets = [], unequal_budgets(frame)
    for _, runs in frame.groupby(["architecture", *TASK, *budgets], sort=False, dropna=False):
        on = {rung: runs.loc[runs.rung == rung] for rung in RUNGS}
        row = {"architecture": runs.architecture.iloc[0], "horizon": runs.first_horizon.iloc[0]}
        row |= {name: runs[name].iloc[0] for name in budgets}
        for rung, there in on.items():
            row |= {f"{rung}_solved": num_solved(there), f"{rung}_runs": len(there)}
        rows.append(row | {"verdict": verdict(on)})
    numbers = [f"{rung}_{count}" for rung in RUNGS for count in ("solved", "runs")]
    values = pd.DataFrame(rows, columns=["architecture", "horizon", *budgets, *numbers, "verdict"])
    shown = {"Memory": values.architecture.map(display_name), "Horizon": values.horizon.map(str)}
    shown |= {"Budget": pd.Series(budget_names(values), dtype=str)} if budgets else {}
    for rung, name in RUNGS.items():
        counts = zip(values[f"{rung}_solved"], values[f"{rung}_runs"], strict=True)
        shown[name] = pd.Series([f"{solved}/{runs}" for solved, runs in counts], dtype=str)
    return Table(values, pd.DataFrame(shown | {"What fails": values.verdict}))


def verdict(runs: dict[str, pd.DataFrame]) -> str:
    """Return what fails, from the runs on each rung; one is mastered if more than half of them solved it."""
    mastered = {rung: 2 * num_solved(there) > len(there) for rung, there in runs.items() if len(there)}
    if mastered.get("ppo", False):
        return "nothing"
    if len(mastered) < len(RUNGS):
        return "not run on every rung"
    if not mastered["supervised"]:
        return "memory: it cannot hold the cue"
    if not mastered["revealed"]:
        return "harness: not even the shown cue is learned"
    return "optimisation: PPO cannot teach it to hold"


def _rung(frame: pd.DataFrame) -> pd.Series:
    revealed = frame.objective.mask(frame.reveal_cue.astype(bool), "revealed")
    return revealed.mask(frame.objective == "supervised", "supervised")
