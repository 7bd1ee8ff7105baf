"""Sections that answer what one kind of suite asks; the runs of others leave them empty."""

from membench.report.contents import Contents
from membench.report.facts import THE_DOCUMENT
from membench.report.parts import Part
from membench.report.showing import paragraph, shown_figure, shown_table


def impact(contents: Contents) -> list[Part]:
    """Return what a setting of the deep dive's tables does."""
    return shown_table(
        contents,
        "impact",
        f"""
        The document is {THE_DOCUMENT}. Its words stand beside what these runs measured. *Lost* runs diverged
        or failed; the *spread* is the standard deviation of success over seeds, the mean over tasks; a value
        *did best* at a task if more of its runs solved it than with any other, or as many in fewer steps: by
        two runs or all against none, or by a tenth of the steps and one evaluation, and no seed contradicts
        it.
        """,
    )


def gradient_flow(contents: Contents) -> list[Part]:
    """Return how much gradient reaches the cue."""
    return shown_table(
        contents,
        "gradient_flow",
        """
        The gradient of the answers' cross-entropy with respect to what the step of the cue shows: its norm
        (root mean square over 32 episodes) and its share of that with respect to all steps, medians over
        runs, before training and after. Where all is learned the loss is near zero, and so is its gradient:
        the share still compares. *Diverged* is, of the runs that did not fail, the share that diverged; the
        *largest norm* is that of an update's mean gradient, before clipping, at any evaluation.
        """,
    )


def generalisation(contents: Contents) -> list[Part]:
    """Return success at horizons that were never trained."""
    return [
        *shown_figure(
            contents,
            "generalisation",
            "Success over the horizon of the test, a line per memory",
            """
            Success of the final policy over fresh episodes of other horizons, without training there, beside
            that at the trained one. Lines join the means; every marker is one seed, or from five seeds on a
            mean with its 95 % interval.
            """,
        ),
        *shown_table(
            contents,
            "generalisation",
            """
            Success at other horizons, without training there, beside that at the trained one. Every number is
            of fresh episodes of its own, so that at the trained horizon it can differ from that in other
            tables.
            """,
        ),
    ]


def adaptation(contents: Contents) -> list[Part]:
    """Return learning to adapt to a new mapping."""
    return shown_table(
        contents,
        "adaptation",
        """
        Two ways to learn a new mapping of cues to answers: weights that adapt by gradient steps on support
        episodes (MAML), and a state that adapts while pairs of cue and answer are shown in the episode. Both
        are told the answers and train for as many environment steps.
        """,
    )


def presets(contents: Contents) -> list[Part]:
    """Return the document's presets as they stand."""
    return shown_table(
        contents,
        "presets",
        f"The document is {THE_DOCUMENT}. Its presets as they stand: medians, and mean success.",
    )


def ladder(contents: Contents) -> list[Part]:
    """Return how far each climbed."""
    if "frontier" not in contents.tables:
        return []
    return [
        paragraph(
            f"""
            Every run climbed a ladder of horizons: whenever one was solved it went on at twice that horizon,
            until its budget of training steps was spent. *Frontier* is the longest horizon solved, the median
            over seeds; the recall gap is {contents.recall_gap}. *At most* is as far as the budget has room
            for: every rung takes two rollouts at least. *Success there* is measured on fresh episodes, with
            the weights that solved it. Evaluations are recorded, not charged.
            """
        ),
        *shown_table(contents, "frontier", "The longest horizon solved."),
        *shown_figure(
            contents,
            "frontier",
            "The longest horizon solved, against training steps and seconds",
            """
            Every line is one run, from the first rung that it solved; its marker stands where it solved its
            last.
            """,
        ),
    ]


def rungs(contents: Contents) -> list[Part]:
    """Return whether a memory cannot hold, or cannot learn."""
    return shown_table(
        contents,
        "rungs",
        """
        The same task and memory on three rungs: the answers told (cross-entropy at the questions;
        privileged), the cue shown again at the query (nothing to hold; privileged), and PPO on the task as it
        is. A rung counts as mastered if more than half of its runs solved it.
        """,
    )


def capacity(contents: Contents) -> list[Part]:
    """Return how many bits are recalled."""
    is_one_seed = len({record.seed for record in contents.records}) == 1
    of_one_seed = "**One seed per cell**: a map of where to look, not a measurement."
    seeds = of_one_seed if is_one_seed else "Means over the seeds."
    return [
        *shown_figure(
            contents,
            "capacity",
            "Bits recalled by horizon and by what was shown, a map per memory",
            f"""
            Bits recalled of K items out of C cues: K (log2 C + p log2 p + (1 - p) log2((1 - p) / (C - 1)))
            for a success of p, 0 at chance: the least that answers so often right can carry. {seeds}
            """,
        ),
        *shown_table(contents, "capacity", "Bits recalled, and how many there were to recall."),
    ]
