"""What claims and comparisons of memories rest on: the runs of each suite, each cell's under one budget."""

from collections.abc import Mapping

import pandas as pd

from membench.frame import to_frame
from membench.plan import PlannedRuns
from membench.report.frame import tidy, unequal_budgets
from membench.report.text import listed


def frames_by_suite(by_suite: Mapping[str, PlannedRuns]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the tidy frame of each suite's runs, and a sentence about each that is left out.

    A suite gives a task one budget. Where runs of a task have several, as after a change of the suite, there
    is none by which to judge.
    """
    frames: dict[str, pd.DataFrame] = {}
    left_out: list[str] = []
    for suite, runs in by_suite.items():
        frame = tidy(to_frame(runs.records))
        if unequal := unequal_budgets(frame):
            left_out.append(
                f"{runs.results}: left out, for runs that are alike in all else differ in {listed(unequal)}; "
                "membench report tells them apart"
            )
        else:
            frames[suite] = frame
    return frames, left_out
