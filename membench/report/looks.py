"""How an architecture looks everywhere in a report: name, colour, marker and place in the order."""

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from membench.report.text import one_line


class Look(NamedTuple):
    """The appearance of one architecture."""

    name: str
    colour: str
    marker: str


OWN_LOOKS = {
    "gru": Look("GRU", "#0072B2", "o"),
    "gru_pmm": Look("GRU+PMM", "#D55E00", "s"),
    "pmm_addressed": Look("Addressed PMM", "#56B4E9", "P"),
    "lstm": Look("LSTM", "#009E73", "^"),
    "transformer": Look("Transformer", "#AA4499", "D"),
    "mamba": Look("Mamba", "#E69F00", "v"),
}
"""Colours of Okabe and Ito, and Tol's purple: told apart with any colour vision, and by marker in grey."""

NAMES = {name: look.name for name, look in OWN_LOOKS.items()} | {
    "pmm_gated": "Gated PMM",
    "pmm_sparse": "Sparse PMM",
    "pmm_hierarchical": "Hierarchical PMM",
    "ntm": "NTM",
    "dnc": "DNC",
    "rnn": "RNN",
    "slstm": "sLSTM",
    "min_gru": "minGRU",
    "lru": "LRU",
    "ffm": "FFM",
    "mamba2": "Mamba-2",
    "shm": "SHM",
    "linear_attention": "Linear attention",
    "gated_delta_net": "Gated DeltaNet",
    "mlstm": "mLSTM",
    "gtrxl": "GTrXL",
    "none": "none (no memory)",
    "oracle": "oracle (sees cue)",
}
"""Names of the built-in memories for people, in the order of a report."""

MOST_COLOURS = 8
"""Memories that a figure tells apart by colour; more of them get a row each (`membench.report.rows`)."""

OTHER_COLOURS = ("#882255", "#44AA99", "#999933", "#332288", "#CC6677", "#555555")
OTHER_MARKERS = ("X", "p", "h", "<", ">")

LONGEST_LABEL = 18
"""Characters of a name that fit into a figure's legend."""


def display_name(architecture: str) -> str:
    """Return the name of an architecture for people, on one line."""
    return NAMES.get(architecture) or one_line(architecture)


def in_order(architectures: Iterable[str]) -> list[str]:
    """Return distinct architectures, the built-in ones in their usual order, then the others by name."""
    names = set(architectures)
    return [name for name in NAMES if name in names] + sorted(names - NAMES.keys())


def looks(architectures: Iterable[str]) -> dict[str, Look]:
    """Return the look of each architecture, in order.

    One without a look of its own has a colour that follows from its name, or the next one that is free.
    """
    found: dict[str, Look] = {}
    taken: set[int] = set()
    for name in in_order(architectures):
        if name in OWN_LOOKS:
            found[name] = OWN_LOOKS[name]
            continue
        place = crc32(name.encode()) % len(OTHER_COLOURS)
        while place in taken:
            place += 1
        taken.add(place)
        # The second time round the colours, every colour meets another marker.
        row, colour = divmod(place, len(OTHER_COLOURS))
        marker = OTHER_MARKERS[(colour + row) % len(OTHER_MARKERS)]
        found[name] = Look(_label(display_name(name)), OTHER_COLOURS[colour], marker)
    return found


def _label(name: str) -> str:
    """Return a name that fits a legend and means nothing to matplotlib (a leading underscore)."""
    if len(name) > LONGEST_LABEL:
        name = "…" + name[-(LONGEST_LABEL - 1) :]  # the class comes last and says most
    return f" {name}" if name.startswith("_") else name
