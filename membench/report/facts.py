"""What is known of the built-in memories from their sources, and measured by nothing here."""

from typing import NamedTuple

SOURCE = "architectures/{}.py"
"""Where the facts about a built-in memory come from."""


class Facts(NamedTuple):
    """What the file of an architecture says of it."""

    kind: str
    memory: str
    """Where it keeps what it remembers."""
    gates: str
    source: str
    """Who described it, and when."""


NO_GATES = "none"
DEEP_DIVE = "the deep dive"
THE_DOCUMENT = "the Memory Architecture Deep Dive, the guide to agents with a memory that membench implements"
"""What pages say where they first speak of the document."""
GRU_GATES = "2 (reset, update) in its GRU"

FACTS = {
    "gru": Facts("RNN", "one hidden vector", "2 (reset, update)", "Cho et al. 2014"),
    "gru_pmm": Facts("RNN + memory", "explicit: slots addressed by content", GRU_GATES, DEEP_DIVE),
    "pmm_gated": Facts(
        "RNN + memory", "explicit: slots addressed by content", f"{GRU_GATES}, 1 on writing", DEEP_DIVE
    ),
    "pmm_addressed": Facts(
        "RNN + memory",
        "explicit: slots with fixed addresses",
        f"{GRU_GATES}, 1 on writing",
        "Gulcehre et al. 2016",
    ),
    "pmm_sparse": Facts(
        "RNN + memory",
        "explicit: many slots, a few touched per step",
        f"{GRU_GATES}, 1 on writing",
        "Lample et al. 2019",
    ),
    "pmm_hierarchical": Facts(
        "RNN + memory",
        "explicit: a short-term and a long-term set of slots",
        f"{GRU_GATES}, 1 on long-term writing",
        DEEP_DIVE,
    ),
    "ntm": Facts(
        "RNN + memory",
        "explicit: slots under moving heads",
        "3 in its LSTM, 1 (interpolation) per head, erase",
        "Graves et al. 2014",
    ),
    "dnc": Facts(
        "RNN + memory",
        "explicit: slots that are allocated and linked",
        "3 in its LSTM; write, allocation, free and erase",
        "Graves et al. 2016",
    ),
    "rnn": Facts("RNN", "one hidden vector", NO_GATES, "Elman 1990"),
    "lstm": Facts(
        "RNN", "a hidden vector and a cell", "3 (input, forget, output)", "Hochreiter and Schmidhuber 1997"
    ),
    "slstm": Facts(
        "RNN", "a hidden vector and a cell", "3 (input, forget, output), exponential", "Beck et al. 2024"
    ),
    "min_gru": Facts("linear recurrence", "one hidden vector", "1 (update)", "Feng et al. 2024"),
    "lru": Facts("linear recurrence", "one complex vector", "1 on the output", "Orvieto et al. 2023"),
    "ffm": Facts("linear recurrence", "a matrix of fading traces", "2 (input, output)", "Morad et al. 2023"),
    "mamba": Facts("SSM", "states per channel", "1 (step size), 1 on the output", "Gu and Dao 2023"),
    "mamba2": Facts("SSM", "a matrix per head", "1 (step size), 1 on the output", "Dao and Gu 2024"),
    "shm": Facts("matrix memory", "a matrix, kept or faded entry by entry", "1 (write)", "Le et al. 2024"),
    "linear_attention": Facts("linear attention", "a matrix per head", NO_GATES, "Katharopoulos et al. 2020"),
    "gated_delta_net": Facts(
        "matrix memory", "a matrix per head", "3 (decay, write, output)", "Yang et al. 2024"
    ),
    "mlstm": Facts(
        "matrix memory", "a matrix per head", "3 (input, forget, output), exponential", "Beck et al. 2024"
    ),
    "transformer": Facts(
        "attention", "implicit: all steps of the episode, attended to", NO_GATES, "Vaswani et al. 2017"
    ),
    "gtrxl": Facts(
        "attention",
        "implicit: all steps of the episode, attended to",
        "2 (reset, update) in place of residuals",
        "Parisotto et al. 2019",
    ),
    "none": Facts("feed-forward", "nothing", NO_GATES, "—"),
    "oracle": Facts("feed-forward", "nothing: it is shown the cue again", NO_GATES, "—"),
}
