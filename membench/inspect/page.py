"""The page of an inspection: one HTML file that needs no other, with its figures and tables beside it."""

from dataclasses import dataclass
from pathlib import Path

from membench.errors import InputError
from membench.inspect.figures import figures_for
from membench.inspect.looking import Inspection, look
from membench.inspect.runs import LoadedRun
from membench.inspect.tables import in_words, tables_for
from membench.inspect.words import answer, not_applying
from membench.records import RunRecord
from membench.report.files import style, write_figure, write_table, write_text
from membench.report.looks import display_name
from membench.report.page import html_page_of
from membench.report.parts import Items, Paragraph, Part, Section, ShownFigure, ShownTable
from membench.report.tables import Table
from membench.report.text import escape_markdown, one_line
from membench.untrusted import refuse_links

FOLDER = "inspect"
"""Of a results folder; every run that was looked into has one in it."""


@dataclass(frozen=True)
class Heading:
    """What the page is about."""

    about: str
    question: str = "What is remembered, where, and when is it lost?"


@dataclass(frozen=True)
class InspectionFiles:
    """Where an inspection lies."""

    page: Path
    plots: list[Path]
    tables: list[Path]


def inspect_run(run: LoadedRun, out: Path | None = None) -> tuple[Inspection, InspectionFiles]:
    """Look inside the agent of a run and write the page, by default under its results folder.

    Raises:
        InputError: if the folder cannot be written to, or a link in it leads out.
    """
    if out is None:
        refuse_links(run.results)
    folder = out or run.results / FOLDER / run.record.run_id
    refuse_links(folder)
    found = look(run.agent, run.task, run.untrained, discount=run.discount)
    try:
        return found, write_inspection(folder, run.record, found)
    except OSError as error:
        raise InputError(f"{str(folder)!r}: cannot write there ({error.strerror})") from error


def write_inspection(folder: Path, record: RunRecord, found: Inspection) -> InspectionFiles:
    """Write the tables, figures and page of what was found; the same finding gives the same files."""
    tables = tables_for(found)
    table_files = [
        file for name, table in tables.items() for file in write_table(folder / "tables", name, table)
    ]
    with style():
        plots = [
            file
            for name, draw in figures_for(found, record.curve).items()
            for file in write_figure(folder / "plots", name, draw())
        ]
    figures = {file.stem: file.read_bytes() for file in plots if file.suffix == ".svg"}
    heading = Heading(
        f"inside {display_name(record.architecture)}, horizon {record.horizon}, seed {record.seed}"
    )
    content = html_page_of(heading, answer(found), sections(record, found, tables, figures))
    page = write_text(folder / "inspect.html", content)
    return InspectionFiles(page, plots, table_files)


def sections(
    record: RunRecord, found: Inspection, tables: dict[str, Table], figures: dict[str, bytes]
) -> list[Section]:
    """Return the sections of the page; one of which nothing is left says why."""
    is_drawn = {
        "interventions": bool(found.middle and found.middle.slots),
        "utilisation": bool(found.slot_parts),
        "episode": bool(found.attention),
    }
    also_drawn = {name: said for name, said in ALSO_DRAWN.items() if is_drawn[name]}

    def parts(name: str, figure: str = "", table: str = "") -> list[Part]:
        shown: list[Part] = []
        if name in figures:
            caption = one_line(figure + also_drawn.get(name, ""))
            shown.append(ShownFigure(name, f"{name} over the episode", caption, figures[name]))
        if name in tables:
            shown.append(ShownTable(name, one_line(table), tables[name], is_long=name in LONG_TABLES))
        return shown

    made = [Section(title, parts(name, *texts)) for title, name, *texts in SECTIONS]
    phases = next(section for section in made if section.title == PHASES)
    phases.parts.extend(
        [Items(in_words(found)), *parts("episode", EPISODE, "The same episode, step by step.")]
    )
    made = [section for section in made if section.parts]
    return [*made, Section("How it was measured", _measured(record, found))]


def _measured(record: RunRecord, found: Inspection) -> list[Part]:
    sample = found.sample
    says = [
        f"{len(sample.answers)} fresh episodes of {record.task} with the greedy policy, up to the first "
        f"question, at step {sample.query}; {len(found.steps)} of their steps were looked at."
    ]
    if sample.num_left_out:
        says.append(f"{sample.num_left_out} more were asked at another step, or never, and are left out.")
    if not sample.is_open_loop:
        says.append(
            "What is seen in this task depends on what is done; where a state is changed, the episode goes "
            "on with what was seen without the change."
        )
    says.append(
        "Probes are trained on one half of the episodes and tested on the other. All of it was computed in "
        "float32 on a CPU, and the agent stayed as it was."
    )
    adapted = (
        [
            "The objective is `maml`: these are the weights before they adapt to a mapping, so that answers "
            "are right by chance alone."
        ]
        if record.config.objective == "maml"
        else []
    )
    missing = [f"Does not apply. {sentence}" for sentence in not_applying(found)]
    listed: list[Part] = [Items([*adapted, *map(escape_markdown, missing)])] if adapted or missing else []
    return [Paragraph(f"Run `{record.run_id}`, {escape_markdown(record.status)}. {' '.join(says)}"), *listed]


LONG_TABLES = ("interventions", "episode")
"""Folded up."""

PHASES = "The document's three phases"

EPISODE = """
One episode: what came in, the first units of the hidden state, and the policy's probabilities.
"""

ALSO_DRAWN = {
    "interventions": """
    On the right, the effect of swapping a single slot in the middle of the delay, for the slots that differ
    most between answers.
    """,
    "utilisation": """
    Its range of norms is about slots. Effective slots: as how many different slots they act.
    """,
    "episode": """
    Above the policy, the weights of attention: means over heads and over the episodes with the same answer.
    """,
}
"""What the figures of a memory with slots, or with attention, show beside."""

SECTIONS = [
    (
        "When it is lost",
        "retention",
        """
        A linear classifier reads the answer off each part of the state, after every step, on episodes that it
        was not trained on, with noise of 1 % of the state's size. Where the curve falls, memory is lost;
        where it stays at 1 and the star, the agent's own success, is lower, the policy is at fault.
        """,
        """
        Accuracy of the probes. Chance: the share of the most frequent answer among the episodes that they are
        tested on, which is what always giving it would get.
        """,
    ),
    (
        "Which part the answer comes from",
        "interventions",
        """
        After a step of the delay a part of the state is swapped between episodes with different answers.
        Causal shares are Shapley values of the effect on the policy's outputs at the query, and add up to 1.
        """,
        """
        Effect: 0 leaves the outputs as they were, 1 is what swapping the whole state does. Answers that
        follow it: those that become the donor's when this part alone is swapped.
        """,
    ),
    (
        "Where it looks",
        "attention",
        """
        Left: weights at the query, a row per head. Right: over time, the mean over heads. All are means over
        episodes. Of many memories or layers the first four are drawn, of many slots the 64 with the most
        weight.
        """,
        """
        Spread: the exponential of the entropy. Differs by answer: the mean total variation between one
        answer's weights and the mean over all. Uniform: spread over at least 95 % of what there is.
        """,
    ),
    (
        "How full it is",
        "utilisation",
        """
        Norm and saturation of the state, over green where the document calls them healthy.
        """,
        "At the query.",
    ),
    (
        "How the hidden state moves",
        "hidden",
        """
        Left: the hidden state's way through the episode in its two leading principal components, by answer;
        markers stand at the query. Right: by how much of its norm it changes per step.
        """,
    ),
    (
        "How far gradients reach",
        "reach",
        """
        The norm of the derivative of the latent at the query with respect to the observation of every step. A
        curve that falls towards early steps vanishes, one that rises explodes. A step without a point has
        exactly none.
        """,
    ),
    (
        PHASES,
        "phases",
        "",
        """
        Each sentence of the document beside the number that judges it. For another memory than GRU+PMM, its
        hidden state stands for the GRU, and its slots for the PMM.
        """,
    ),
    (
        "How it was learned",
        "training",
        "What was measured at every evaluation during training, and of the update before it.",
    ),
]
"""Title, name of the figure and the table, and what to say of either."""
