"""Meta-learning: weights that adapt beside a state that adapts, on equal steps and with the answers told."""

import pandas as pd

from membench.envs.associative_recall import AssociativeRecall
from membench.report import text
from membench.report.frame import cells, median_time, num_solved
from membench.report.judging import Finding, verdict_of_seeds
from membench.report.tables import Table, shown_key
from membench.stats import MedianTime

BY_WEIGHTS, BY_STATE = "weights, by gradient steps (MAML)", "state, within an episode"


def has_adaptation(frame: pd.DataFrame) -> bool:
    """Return whether a tidy frame holds runs that adapt their weights."""
    return bool((frame.objective == "maml").any())


def learners(frame: pd.DataFrame) -> pd.Series:
    """Return what each run of a tidy frame adapts to a mapping of cues to answers; None if nothing."""
    by_state = (frame.objective == "supervised") & (frame.task == AssociativeRecall.name)
    found = pd.Series(None, frame.index, dtype=object)
    found[by_state] = BY_STATE
    found[frame.objective == "maml"] = BY_WEIGHTS
    return found


def adaptation_table(frame: pd.DataFrame) -> Table:
    """Return, by architecture and cell, what adapts, and how well after how many training steps."""
    frame = frame.assign(learner=learners(frame)).dropna(subset="learner")
    rows = []
    for cell in cells(frame):
        median = median_time(cell.runs, "solved", "steps")
        rows.append(
            cell.key
            | {
                "adapts": cell.runs.learner.iloc[0],
                "solved": num_solved(cell.runs),
                "mean": cell.runs.counted_success.mean(),
                "by_seed": " ".join(map(str, cell.runs.counted_success)),
                "median_steps_to_solved": median.value,
                "is_lower_bound": median.is_lower_bound,
                "cpu_seconds": cell.runs.cpu_seconds.median(),
            }
        )
    values = pd.DataFrame(rows)
    medians = zip(values.median_steps_to_solved, values.is_lower_bound, strict=True)
    shown = shown_key(values, frame) | {
        "What adapts": values.adapts,
        "Solved": values.solved.map(str),
        "Mean success": values["mean"].map(text.share),
        "Every seed": [" ".join(text.share(float(one)) for one in seeds.split()) for seeds in values.by_seed],
        "Median steps to solved": [text.time(MedianTime(*median)) for median in medians],
        "Processor seconds": values.cpu_seconds.map(text.seconds),
    }
    return Table(values, pd.DataFrame(shown))


def adapts_in_a_few_steps(frame: pd.DataFrame) -> Finding | None:
    """Judge whether weights that adapt by gradient steps come to solve new mappings."""
    runs = frame.loc[frame.objective == "maml"]
    if runs.empty:
        return None
    steps = " or ".join(sorted({str(settings["maml.num_inner_steps"]) for settings in runs.settings}))
    shares = ", ".join(map(text.share, runs.counted_success))
    agreed = (runs.status == "solved").tolist()
    return Finding(f"success {shares} after {steps} inner steps", verdict_of_seeds(agreed), len(runs))
