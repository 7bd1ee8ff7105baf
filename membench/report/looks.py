"""How an architecture looks everywhere in a report: name, colour, marker and place in the order."""

from collections.abc import Iterable
from typing import Literal, NamedTuple
from zlib import crc32

from membench.report.text import one_line

Line = Literal["-", "--", ":", "-.", "none"]
"""A line style of matplotlib."""


class Look(NamedTuple):
    """The appearance of one architecture."""

    name: str
    colour: str
    marker: str
    line: Line = "-"


BLUE, VERMILION, SKY, GREEN, PURPLE, ORANGE = OWN_COLOURS = (
    *("#0072B2", "#D55E00", "#56B4E9", "#009E73"),
    *("#AA4499", "#E69F00"),
)
"""Colours of Okabe and Ito, and Tol's purple: told apart with any colour vision, and by marker in grey."""

WINE, TEAL, OLIVE, INDIGO, ROSE, GREY = OTHER_COLOURS = (
    *("#882255", "#44AA99", "#999933"),
    *("#332288", "#CC6677", "#555555"),
)
"""Colours of Tol's muted scheme."""

DASHED: Line = "--"

LOOKS = {
    "gru": Look("GRU", BLUE, "o"),
    "gru_pmm": Look("GRU+PMM", VERMILION, "s"),
    "pmm_addressed": Look("Addressed PMM", SKY, "P"),
    "lstm": Look("LSTM", GREEN, "^"),
    "transformer": Look("Transformer", PURPLE, "D"),
    "mamba": Look("Mamba", ORANGE, "v"),
    "pmm_gated": Look("Gated PMM", VERMILION, "X", DASHED),
    "pmm_sparse": Look("Sparse PMM", SKY, "*", DASHED),
    "pmm_hierarchical": Look("Hierarchical PMM", ROSE, ">", DASHED),
    "ntm": Look("NTM", WINE, "X"),
    "dnc": Look("DNC", WINE, "p", DASHED),
    "rnn": Look("RNN", INDIGO, "h"),
    "slstm": Look("sLSTM", GREEN, "<", DASHED),
    "min_gru": Look("minGRU", BLUE, "p", DASHED),
    "lru": Look("LRU", INDIGO, "<", DASHED),
    "ffm": Look("FFM", TEAL, ">"),
    "mamba2": Look("Mamba-2", ORANGE, ">", DASHED),
    "shm": Look("SHM", TEAL, "d", DASHED),
    "linear_attention": Look("Linear attention", OLIVE, "p"),
    "gated_delta_net": Look("Gated DeltaNet", OLIVE, "X", DASHED),
    "mlstm": Look("mLSTM", ROSE, "<"),
    "gtrxl": Look("GTrXL", PURPLE, "h", DASHED),
    "none": Look("none (no memory)", GREY, "*"),
    "oracle": Look("oracle (sees cue)", GREY, "h", DASHED),
}
"""The built-in memories in the order of a report. Two of one colour, often relatives, differ in marker and
line; the six that every suite trains have a colour of their own among themselves, and full lines."""

MOST_COLOURS = 8
"""Memories that a figure tells apart by colour; more of them get a row each (`membench.report.rows`)."""

OTHER_MARKERS = ("X", "p", "h", "<", ">")
OTHER_LINES: tuple[Line, ...] = (":", "-.")

LONGEST_LABEL = 18
"""Characters of a name that fit into a figure's legend."""


def display_name(architecture: str) -> str:
    """Return the name of an architecture for people, on one line."""
    return LOOKS[architecture].name if architecture in LOOKS else one_line(architecture)


def in_order(architectures: Iterable[str]) -> list[str]:
    """Return distinct architectures, the built-in ones in their usual order, then the others by name."""
    names = set(architectures)
    return [name for name in LOOKS if name in names] + sorted(names - LOOKS.keys())


def looks(architectures: Iterable[str]) -> dict[str, Look]:
    """Return the look of each architecture, in order.

    One that is not built in has a colour that follows from its name, or the next one that is free, and a line
    that no built-in one has.
    """
    found: dict[str, Look] = {}
    taken: set[int] = set()
    for name in in_order(architectures):
        if name in LOOKS:
            found[name] = LOOKS[name]
            continue
        place = crc32(name.encode()) % len(OTHER_COLOURS)
        while place in taken:
            place += 1
        taken.add(place)
        # The second time round the colours, every colour meets another marker.
        row, colour = divmod(place, len(OTHER_COLOURS))
        marker = OTHER_MARKERS[(colour + row) % len(OTHER_MARKERS)]
        line = OTHER_LINES[row % len(OTHER_LINES)]
        found[name] = Look(_label(display_name(name)), OTHER_COLOURS[colour], marker, line)
    return found


def _label(name: str) -> str:
    """Return a name that fits a legend and means nothing to matplotlib (a leading underscore)."""
    if len(name) > LONGEST_LABEL:
        name = "…" + name[-(LONGEST_LABEL - 1) :]  # the class comes last and says most
    return f" {name}" if name.startswith("_") else name
