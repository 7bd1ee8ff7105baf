"""What a report says, in the order in which it says it; `report.md` and `report.html` show the same.

A table or figure that the runs at hand do not have is left out, and so is a section of which nothing is left.
"""

from collections.abc import Callable

from membench.report import question_sections
from membench.report.contents import Contents
from membench.report.facts import THE_DOCUMENT
from membench.report.frame import is_below_mark, num_solved
from membench.report.headline import headline_caption
from membench.report.how_it_was_run import how_it_was_run
from membench.report.looks import display_name
from membench.report.parts import Part, Section
from membench.report.showing import paragraph, shown_figure, shown_table
from membench.report.text import escape_markdown, listed


def sections(contents: Contents) -> list[Section]:
    """Return the sections of a report, in order."""
    made = [Section(title, parts(contents)) for title, parts in SECTIONS]
    return [section for section in made if section.parts]


def _result(contents: Contents) -> list[Part]:
    return [
        *shown_table(contents, "headline", f"{headline_caption(contents.frame)}."),
        *shown_figure(
            contents,
            "success",
            "Success by task and memory",
            """
            Success is the share of right answers of the greedy policy over fresh episodes drawn after
            training. Every marker is one seed, shifted sideways so as not to hide another; dashes are the
            means, joined by lines along horizons; bars are 95 % bootstrap intervals of the mean over seeds.
            An interval needs at least 5 seeds that are not all equal; where there is none, none is drawn.
            """,
        ),
        *shown_table(contents, "success", "Success by task and memory."),
    ]


def _ranking(contents: Contents) -> list[Part]:
    return [
        *shown_figure(
            contents,
            "ranking",
            "Memories ranked by success over all cells",
            """
            Markers are interquartile means over all their cells, the best on top. Bars are 95 % bootstrap
            intervals over seeds; of fewer than five seeds, strokes show every run. Where all seeds are equal
            there is no bar.
            """,
            is_narrow=True,
        ),
        *shown_table(
            contents,
            "ranking",
            f"""
            Memories that ran in the same cells, ranked by the interquartile mean over all of them: the mean
            of all runs without the best and the worst quarter, which does not see so few failures; *Solved*
            does. Its interval resamples the seeds, over all cells at once. {_not_ranked(contents)}
            """,
        ),
        *shown_figure(
            contents,
            "profiles",
            "The share of runs above every success, by memory",
            """
            How large a share of a memory's runs ended above a success, each cell counting alike: the higher
            a line, the better, and one that falls early has runs that learned little. Bands are 95 %
            bootstrap intervals at each success alone, from five seeds on.
            """,
        ),
        *shown_table(
            contents,
            "profiles",
            "The share of runs whose success is above a mark, each cell counting alike.",
        ),
        *shown_table(
            contents,
            "improvement",
            """
            For every pair, how probably a run of the first beats one of the second, and the mean difference
            between runs of the same seed, which drew the same episodes.
            """,
            is_long=True,
        ),
    ]


def _not_ranked(contents: Contents) -> str:
    """Return which memories ran in other cells than those that are ranked, as a sentence if there are any."""
    ranking = contents.tables.get("ranking")
    ranked = set() if ranking is None else set(ranking.values.architecture)
    others = [name for name in dict.fromkeys(contents.frame.architecture) if name not in ranked]
    names = [escape_markdown(display_name(name)) for name in others]
    return f"Not ranked, for they ran in other cells: {listed(names)}." if names else ""


def _time_to_solved(contents: Contents) -> list[Part]:
    table = shown_table(contents, "steps_to_solved", "Median steps and seconds, by task and memory.")
    if not table:
        return []
    return [
        *shown_figure(
            contents,
            "steps_to_solved",
            "Steps and seconds to solved, by task and memory",
            """
            Every marker is one seed, shifted sideways so as not to hide another; dashes are the medians. A
            hollow marker is a run whose budget was spent before it was solved. A run that diverged or failed
            stands at the upper edge: it never will be.
            """,
        ),
        *table,
        paragraph(
            """
            *Solved*: success of the greedy policy reached the suite's mark at two evaluations in a row. *95 %
            sampled*: 95 % of the last 320 training episodes' answers, drawn from the policy, were right. The
            median is the time by which more than half of the runs had got there. `>` says that runs ended
            first, their budget spent, so that the median is only known to be larger; *never*, that half or
            more diverged or failed. An interval that reads *from* has no upper end: with so few runs, it
            cannot be ruled out that half of all would take longer than the slowest of these.
            """
        ),
        *_held_up(contents),
    ]


def _held_up(contents: Contents) -> list[Part]:
    """Return how many of the runs that were called solved still were at the end, and which were not."""
    frame = contents.frame
    if not num_solved(frame):
        return []
    greedy, sampled = (is_below_mark(frame, success).sum() for success in ("success", "sampled_success"))
    return [
        paragraph(
            f"""
            Of the {num_solved(frame)} runs called solved, {greedy} fell below their mark on the fresh
            episodes after training, and {sampled} with actions drawn from the policy.
            """
        ),
        *shown_table(
            contents,
            "below_mark",
            """
            Runs called solved whose greedy policy was below their mark at the end: a run goes on until its
            sampled answers are as good, or its budget is spent, and may forget meanwhile. They count as
            solved, and with the success that they had at the end.
            """,
        ),
    ]


def _learning_curves(contents: Contents) -> list[Part]:
    return shown_figure(
        contents,
        "learning_curves",
        "Greedy success against training steps, by task",
        "One line per run, from its first evaluation to its last, where its marker stands.",
    )


def _cost(contents: Contents) -> list[Part]:
    return [
        *shown_figure(
            contents,
            "cost",
            "Training speed and parameters by memory",
            """
            Bars and the numbers beside them are medians, strokes single runs. Where the agents of one memory
            differ in size by more than a twentieth, the least and the most stand there, without a bar.
            """,
        ),
        *shown_table(
            contents,
            "cost",
            """
            Medians over runs. Training speed leaves evaluations out. The state is what one environment
            carries from step to step. Peak memory is that of the whole process on a CPU, of PyTorch's
            allocations on a GPU.
            """,
        ),
    ]


def _what_success_costs(contents: Contents) -> list[Part]:
    return [
        *shown_figure(
            contents,
            "pareto",
            "Success against its prices, by memory",
            """
            A point per memory: success over all cells, its price in the last one. Bars are 95 % intervals; of
            fewer than five seeds, dashes show every run. The line is the highest success to be had for a
            price. Where all memories have as many parameters, these have no panel.
            """,
        ),
        *shown_table(
            contents,
            "pareto",
            """
            Success is the interquartile mean over all cells; prices are medians in the last cell. Success
            within 0.05, times within a tenth and parameters within a twentieth count as equal. An oracle that
            is shown the cue again does not compete, nor does a memory that lacks runs in a cell.
            """,
        ),
    ]


def _comparisons(contents: Contents) -> list[Part]:
    tables = [
        *shown_table(contents, "gru_pmm_vs_transformer", "GRU+PMM vs Transformer"),
        *shown_table(contents, "gru_vs_lstm", "GRU vs LSTM"),
        *shown_table(contents, "gru_pmm_vs_mamba", "GRU+PMM vs Mamba"),
    ]
    if not tables:
        return []
    return [
        paragraph(
            f"""
            The document is {THE_DOCUMENT}. What it says of each pair, and what these runs measured at the
            sizes and horizons of this suite, which need not be the document's. "(stated)" marks a word about
            the design that no run here measures.
            """
        ),
        *tables,
    ]


SECTIONS: list[tuple[str, Callable[[Contents], list[Part]]]] = [
    ("Result", _result),
    ("What the setting does", question_sections.impact),
    ("How gradients flow", question_sections.gradient_flow),
    ("Horizons that were never trained", question_sections.generalisation),
    ("Learning to adapt", question_sections.adaptation),
    ("The document's presets", question_sections.presets),
    ("Over all tasks", _ranking),
    ("How far each climbed", question_sections.ladder),
    ("Cannot hold, or cannot learn", question_sections.rungs),
    ("Capacity", question_sections.capacity),
    ("How long until solved", _time_to_solved),
    ("Learning curves", _learning_curves),
    ("What it costs", _cost),
    ("What success costs", _what_success_costs),
    ("The document's comparisons", _comparisons),
    ("How it was run", how_it_was_run),
]
"""Every section and what makes its parts."""
