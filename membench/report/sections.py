"""What a report says, in the order in which it says it; `report.md` and `report.html` show the same.

A table or figure that the runs at hand do not have is left out, and so is a section of which nothing is left.
"""

from collections.abc import Callable

from membench.report.contents import Contents
from membench.report.frame import is_ladder
from membench.report.headline import headline_caption
from membench.report.looks import display_name
from membench.report.parts import Command, Items, Paragraph, Part, Section, ShownFigure, ShownTable
from membench.report.text import escape_markdown, listed, one_line


def sections(contents: Contents) -> list[Section]:
    """Return the sections of a report, in order."""
    made = [Section(title, parts(contents)) for title, parts in SECTIONS]
    return [section for section in made if section.parts]


def _paragraph(text: str) -> Paragraph:
    return Paragraph(one_line(text))


def _table(contents: Contents, name: str, caption: str, *, is_long: bool = False) -> list[Part]:
    table = contents.tables.get(name)
    if table is None or table.shown.empty:
        return []
    return [ShownTable(name, one_line(caption), table, is_long)]


def _figure(
    contents: Contents, name: str, alternative: str, caption: str, *, is_narrow: bool = False
) -> list[Part]:
    svg = contents.figures.get(name)
    return [] if svg is None else [ShownFigure(name, alternative, one_line(caption), svg, is_narrow)]


def _result(contents: Contents) -> list[Part]:
    return [
        *_table(contents, "headline", f"{headline_caption(contents.frame)}."),
        *_figure(
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
        *_table(contents, "success", "Success by task and memory."),
    ]


def _impact(contents: Contents) -> list[Part]:
    return _table(
        contents,
        "impact",
        """
        The document's words beside what these runs measured. *Lost* runs diverged or failed; the *spread* is
        the standard deviation of success over seeds, the mean over tasks; a value *did best* at a task if
        more of its runs solved it than with any other, or as many in fewer steps: by two runs or all against
        none, or by a tenth of the steps and one evaluation.
        """,
    )


def _gradient_flow(contents: Contents) -> list[Part]:
    return _table(
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


def _generalisation(contents: Contents) -> list[Part]:
    return [
        *_figure(
            contents,
            "generalisation",
            "Success over the horizon of the test, a line per memory",
            """
            Success of the final policy over fresh episodes of other horizons, without training there, beside
            that at the trained one. Lines join the means; every marker is one seed, or from five seeds on a
            mean with its 95 % interval.
            """,
        ),
        *_table(
            contents,
            "generalisation",
            """
            Success at other horizons, without training there, beside that at the trained one. Every number is
            of fresh episodes of its own, so that at the trained horizon it can differ from that in other
            tables.
            """,
        ),
    ]


def _adaptation(contents: Contents) -> list[Part]:
    return _table(
        contents,
        "adaptation",
        """
        Two ways to learn a new mapping of cues to answers: weights that adapt by gradient steps on support
        episodes (MAML), and a state that adapts while pairs of cue and answer are shown in the episode. Both
        are told the answers and train for as many environment steps.
        """,
    )


def _presets(contents: Contents) -> list[Part]:
    return _table(contents, "presets", "The deep dive's presets as they stand: medians, and mean success.")


def _ranking(contents: Contents) -> list[Part]:
    return [
        *_figure(
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
        *_table(
            contents,
            "ranking",
            f"""
            Memories that ran in the same cells, ranked by the interquartile mean over all of them: the mean
            of all runs without the best and the worst quarter, which does not see so few failures; *Solved*
            does. Its interval resamples the seeds within each cell. {_not_ranked(contents)}
            """,
        ),
        *_figure(
            contents,
            "profiles",
            "The share of runs above every success, by memory",
            """
            How large a share of a memory's runs ended above a success, each cell counting alike: the higher
            a line, the better, and one that falls early has runs that learned little. Bands are 95 %
            bootstrap intervals at each success alone, from five seeds on.
            """,
        ),
        *_table(
            contents,
            "profiles",
            "The share of runs whose success is above a mark, each cell counting alike.",
        ),
        *_table(
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


def _ladder(contents: Contents) -> list[Part]:
    if "frontier" not in contents.tables:
        return []
    return [
        _paragraph(
            f"""
            Every run climbed a ladder of horizons: whenever one was solved it went on at twice that horizon,
            until its budget of training steps was spent. *Frontier* is the longest horizon solved, the median
            over seeds; the recall gap is {contents.recall_gap}. *Success there* is measured on fresh
            episodes, with the weights that solved it. Evaluations are recorded, not charged.
            """
        ),
        *_table(contents, "frontier", "The longest horizon solved."),
        *_figure(
            contents,
            "frontier",
            "The longest horizon solved, against training steps and seconds",
            """
            Every line is one run, from the first rung that it solved; its marker stands where it solved its
            last.
            """,
        ),
    ]


def _rungs(contents: Contents) -> list[Part]:
    return _table(
        contents,
        "rungs",
        """
        The same task and memory on three rungs: the answers told (cross-entropy at the questions;
        privileged), the cue shown again at the query (nothing to hold; privileged), and PPO on the task as it
        is. A rung counts as mastered if more than half of its runs solved it.
        """,
    )


def _capacity(contents: Contents) -> list[Part]:
    is_one_seed = len({record.seed for record in contents.records}) == 1
    of_one_seed = "**One seed per cell**: a map of where to look, not a measurement."
    seeds = of_one_seed if is_one_seed else "Means over the seeds."
    return [
        *_figure(
            contents,
            "capacity",
            "Bits recalled by horizon and by what was shown, a map per memory",
            f"""
            Bits recalled of K items out of C cues: K (log2 C + p log2 p + (1 - p) log2((1 - p) / (C - 1)))
            for a success of p, 0 at chance. {seeds}
            """,
        ),
        *_table(contents, "capacity", "Bits recalled, and how many there were to recall."),
    ]


def _time_to_solved(contents: Contents) -> list[Part]:
    table = _table(contents, "steps_to_solved", "Median steps and seconds, by task and memory.")
    if not table:
        return []
    return [
        *_figure(
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
        _paragraph(
            """
            *Solved*: success of the greedy policy reached the suite's mark at two evaluations in a row. *95 %
            sampled*: 95 % of the last 320 training episodes' answers, drawn from the policy, were right. The
            median is the time by which more than half of the runs had got there. `>` says that runs ended
            first, their budget spent, so that the median is only known to be larger; *never*, that half or
            more diverged or failed.
            """
        ),
        *_held_up(contents),
    ]


def _held_up(contents: Contents) -> list[Part]:
    solved = contents.solved
    if not solved.runs:
        return []
    return [
        _paragraph(
            f"""
            Of the {solved.runs} runs called solved, {solved.greedy_below} fell below their mark on the fresh
            episodes after training, and {solved.sampled_below} with actions drawn from the policy.
            """
        )
    ]


def _learning_curves(contents: Contents) -> list[Part]:
    return _figure(
        contents,
        "learning_curves",
        "Greedy success against training steps, by task",
        "One line per run, from its first evaluation to its last, where its marker stands.",
    )


def _cost(contents: Contents) -> list[Part]:
    return [
        *_figure(
            contents,
            "cost",
            "Training speed and parameters by memory",
            """
            Bars and the numbers beside them are medians, strokes single runs. Where the agents of one memory
            differ in size by more than a twentieth, the least and the most stand there, without a bar.
            """,
        ),
        *_table(
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
        *_figure(
            contents,
            "pareto",
            "Success against its prices, by memory",
            """
            A point per memory: success over all cells, its price in the last one. Bars are 95 % intervals; of
            fewer than five seeds, dashes show every run. The line is the highest success to be had for a
            price. Where all memories have as many parameters, these have no panel.
            """,
        ),
        *_table(
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
        *_table(contents, "gru_pmm_vs_transformer", "GRU+PMM vs Transformer"),
        *_table(contents, "gru_vs_lstm", "GRU vs LSTM"),
        *_table(contents, "gru_pmm_vs_mamba", "GRU+PMM vs Mamba"),
    ]
    if not tables:
        return []
    return [
        _paragraph(
            """
            What the deep dive says of each pair, and what these runs measured at the sizes and horizons of
            this suite, which need not be the document's. "(stated)" marks a word about the design that no run
            here measures.
            """
        ),
        *tables,
    ]


def _how_it_was_run(contents: Contents) -> list[Part]:
    num_records = len(contents.records)
    num_planned, num_lost = num_records + len(contents.missing), len(contents.tables["lost"].shown)
    counted = "with the horizons solved" if is_ladder(contents.frame) else "as never solved"
    lost = f"; {num_lost} of them diverged or failed" if num_lost else ""
    return [
        Command(contents.heading.command),
        _paragraph(
            f"""
            With the seeds {", ".join(map(str, contents.heading.seeds))}. {num_records} of {num_planned}
            planned runs have a record{lost}.
            """
        ),
        *_list(
            [f"Timed on: {escape_markdown(machine)}" for machine in contents.machines]
            + [f"Versions: {escape_markdown(version)}" for version in contents.versions]
        ),
        *_gaps(contents),
        *_table(
            contents,
            "lost",
            f"""
            Runs that diverged or failed. They count in every number here: with the success that they had
            reached or, where none could be measured, at chance; and {counted}.
            """,
        ),
        *_table(contents, "runs", "Every run.", is_long=True),
        _paragraph("Every table lies in `tables/` as `.csv` too, with unrounded values."),
    ]


def _gaps(contents: Contents) -> list[Part]:
    """Return what is missing, damaged or mixed up."""
    found: list[Part] = []
    if contents.missing:
        found.append(
            _paragraph(
                "**Missing**: these runs are planned and have no record; everything here is without them."
            )
        )
        found += _list([f"no record: {escape_markdown(label)}" for label in contents.missing])
    if contents.complaints:
        found.append(_paragraph("**Damaged files**: these are no records."))
        found += _list([f"skipped: {escape_markdown(complaint)}" for complaint in contents.complaints])
    if contents.num_repeated:
        found.append(
            _paragraph(
                f"""
                **Mixed settings**: {contents.num_repeated} runs share memory, task and seed with another run
                and differ from it in other settings; all are counted together. A folder of their own keeps
                them apart.
                """
            )
        )
    return found


def _list(items: list[str]) -> list[Part]:
    return [Items(items)] if items else []


SECTIONS: list[tuple[str, Callable[[Contents], list[Part]]]] = [
    ("Result", _result),
    ("What the setting does", _impact),
    ("How gradients flow", _gradient_flow),
    ("Horizons that were never trained", _generalisation),
    ("Learning to adapt", _adaptation),
    ("The document's presets", _presets),
    ("Over all tasks", _ranking),
    ("How far each climbed", _ladder),
    ("Cannot hold, or cannot learn", _rungs),
    ("Capacity", _capacity),
    ("How long until solved", _time_to_solved),
    ("Learning curves", _learning_curves),
    ("What it costs", _cost),
    ("What success costs", _what_success_costs),
    ("The document's comparisons", _comparisons),
    ("How it was run", _how_it_was_run),
]
"""Every section and what makes its parts."""
