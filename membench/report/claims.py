"""The deep dive's checkable claims, each beside the measurement that judges it."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from membench.report import text
from membench.report.adaptation import adapts_in_a_few_steps
from membench.report.differences import EXACT, SPEED, SUCCESS, borne_out
from membench.report.frame import is_lost
from membench.report.generalisation import holds_on
from membench.report.gradient_flow import clipping_prevents_explosion, gates_preserve_gradients
from membench.report.judging import (
    Finding,
    Judge,
    agrees,
    better,
    does_as_well,
    does_best,
    has_parameters,
    helps,
    horizons,
    larger,
    ordered,
    similar,
    verdict,
    verdict_of_seeds,
)
from membench.report.measures import instability, steps_to_solved, training_speed
from membench.report.presets import cpu_preset_is_faster
from membench.report.tables import Table

DOCUMENT_SIZES = "horizons --preset doc"
"""The runs with the document's own sizes; a preset's name is part of what tells evidence apart."""

NOT_MEASURED = "not measured"

LEARNED = 0.95
"""Success at the shortest horizon from which on it makes sense to ask whether longer ones are held."""


class Claim(NamedTuple):
    """One claim of the document."""

    words: str
    section: str
    suite: str
    """The suite whose runs judge it."""
    judge: Judge


def _remembers_less_over_time(frame: pd.DataFrame) -> Finding | None:
    runs = frame.loc[frame.architecture == "gru"]
    success = runs.groupby("first_horizon").counted_success.mean()
    if len(success) < 2 or success.iloc[0] < LEARNED:
        return None
    measured = ", ".join(f"{text.share(value)} at {horizon}" for horizon, value in success.items())
    first, last = (
        list(runs.loc[runs.first_horizon == horizon].counted_success)
        for horizon in (success.index[0], success.index[-1])
    )
    falls = agrees(borne_out(SUCCESS.order(success.iloc[0], success.iloc[-1]), first, last))
    return Finding(f"success {measured}", verdict([falls]), len(runs))


def _persists(frame: pd.DataFrame) -> Finding | None:
    runs = frame.loc[frame.architecture == "gru_pmm"]
    shortest, longest = (
        runs.loc[runs.first_horizon == horizon].counted_success
        for horizon in (runs.first_horizon.min(), runs.first_horizon.max())
    )
    if runs.empty or shortest.mean() < LEARNED:
        return None
    measured = f"success {', '.join(map(text.share, longest))} at horizon {runs.first_horizon.max()}"
    return Finding(measured, verdict_of_seeds([success >= LEARNED for success in longest]), len(longest))


def _needs_a_gpu(frame: pd.DataFrame) -> Finding | None:
    """Runs on a CPU can refute it; that one was lost there does not show it."""
    runs = frame.loc[(frame.architecture == "mamba") & (frame.device == "cpu")]
    if is_lost(runs).all():
        return None
    return Finding(
        f"{len(runs) - is_lost(runs).sum()} of {len(runs)} runs on a CPU", "does not hold", len(runs)
    )


def _few_cues(frame: pd.DataFrame) -> pd.Series:
    return frame.num_cues == frame.num_cues.min()


def _many_cues(frame: pd.DataFrame) -> pd.Series:
    return (frame.num_cues == frame.num_cues.max()) & (frame.num_cues > frame.num_cues.min())


WIDTH, LAYERS, SLOTS = "memory.hidden_size", "memory.num_layers", "memory.num_slots"
RATE = "ppo.learning_rate"
STAGES = "5:20000,10:30000,20:50000"

COMPONENTS, MECHANISMS = "Neural Network Components", "Memory Mechanisms"
IMPACT, ADVANCED = "Hyperparameter Impact", "Advanced Techniques"
DYNAMICS, RESEARCH = "Training Dynamics", "Research Directions"
OPTIMISATION, COMPARISON = "Performance Optimization", "Comparison with Other Architectures"

CLAIMS = [
    Claim(
        "GRU encoder: ~131k parameters",
        COMPONENTS,
        DOCUMENT_SIZES,
        has_parameters("gru_pmm", "encoder", 130_500, 131_500),
    ),
    Claim(
        "Predictive Memory Module: ~1.2M parameters",
        COMPONENTS,
        DOCUMENT_SIZES,
        has_parameters("gru_pmm", "pmm", 1.15e6, 1.25e6),
    ),
    Claim(
        "GRU is best for horizons < 20",
        MECHANISMS,
        "horizons",
        better("gru", "gru_pmm", horizons(0, 19)),
    ),
    Claim(
        "PMM is best for horizons > 20",
        MECHANISMS,
        "horizons",
        better("gru_pmm", "gru", horizons(21)),
    ),
    Claim("The GRU's memory degrades over time", MECHANISMS, "horizons", _remembers_less_over_time),
    Claim("The PMM's memory persists until overwritten", MECHANISMS, "horizons", _persists),
    Claim(
        "The PMM's memory persists: learned at horizon 20, it holds over the longest delay tested",
        MECHANISMS,
        "generalisation",
        holds_on("gru_pmm", LEARNED),
    ),
    Claim(
        "GRU gates preserve gradients better than a vanilla RNN (the cue's share of the gradient, untrained)",
        DYNAMICS,
        "gradient-flow",
        gates_preserve_gradients,
    ),
    Claim(
        "Gradient clipping at norm 1.0 prevents explosion (runs that diverged)",
        DYNAMICS,
        "gradient-flow",
        clipping_prevents_explosion,
    ),
    Claim(
        "The PMM's residual connections help",
        DYNAMICS,
        "gradient-flow",
        helps("memory.residual", True, False, unstated=True),
    ),
    Claim(
        "LayerNorm helps, as it stabilises activations",
        DYNAMICS,
        "gradient-flow",
        helps("memory.layer_norm", True, False, unstated=True),
    ),
    Claim(
        "Hidden 128 is best for horizons < 10", IMPACT, "hidden-size", does_best(WIDTH, 128, horizons(0, 9))
    ),
    Claim(
        "Hidden 256 is best for horizons 10-30",
        IMPACT,
        "hidden-size",
        does_best(WIDTH, 256, horizons(10, 30)),
    ),
    Claim("Hidden 512 is best for horizons > 30", IMPACT, "hidden-size", does_best(WIDTH, 512, horizons(31))),
    Claim(
        "Wider is slower: 128 fast, 256 medium, 512 slow (steps per processor second)",
        IMPACT,
        "hidden-size",
        ordered(WIDTH, training_speed, rising=False),
    ),
    Claim(
        "More layers are less stable: 1 high, 2 medium, 3+ low (spread of success over seeds)",
        IMPACT,
        "layers",
        ordered(LAYERS, instability, rising=True),
    ),
    Claim(
        "1 layer is best for simple tasks (horizon < 10)",
        IMPACT,
        "layers",
        does_best(LAYERS, 1, horizons(0, 9)),
    ),
    Claim(
        "2 layers are the standard (best at horizons 10-30)",
        IMPACT,
        "layers",
        does_best(LAYERS, 2, horizons(10, 30)),
    ),
    Claim(
        "3 layers are best for complex tasks (horizon > 30)",
        IMPACT,
        "layers",
        does_best(LAYERS, 3, horizons(31)),
    ),
    Claim(
        "More slots have more overhead: 32 low, 64 medium, 128 high (steps per processor second)",
        IMPACT,
        "memory-slots",
        ordered(SLOTS, training_speed, rising=False),
    ),
    Claim("32 slots are best for few cues", IMPACT, "memory-slots", does_best(SLOTS, 32, _few_cues)),
    Claim("128 slots are best for many cues", IMPACT, "memory-slots", does_best(SLOTS, 128, _many_cues)),
    Claim(
        "A higher learning rate converges faster: 1e-4 slow, 1e-3 fast, 1e-2 very fast (steps to solved)",
        IMPACT,
        "learning-rate",
        ordered(RATE, steps_to_solved, rising=False),
    ),
    Claim(
        "A higher learning rate is less stable: 1e-4 high, 1e-3 medium, 1e-2 low (spread over seeds)",
        IMPACT,
        "learning-rate",
        ordered(RATE, instability, rising=True),
    ),
    Claim(
        "The curriculum 5, 10, 20 helps, on equal steps",
        ADVANCED,
        "curriculum",
        helps("curriculum", STAGES, ""),
    ),
    Claim(
        "Cosine annealing of the learning rate helps",
        ADVANCED,
        "schedules",
        helps("ppo.learning_rate_schedule", "cosine", "constant"),
    ),
    Claim(
        "Step decay of the learning rate helps",
        ADVANCED,
        "schedules",
        helps("ppo.learning_rate_schedule", "step", "constant"),
    ),
    Claim(
        "Annealing the entropy coefficient from 0.05 to 0.01 helps, against 0.05 throughout",
        ADVANCED,
        "schedules",
        helps("ppo.entropy_end", 0.01, 0.05),
    ),
    Claim(
        "A Gaussian head whose argmax answers learns as soon as a categorical one",
        COMPONENTS,
        "heads",
        does_as_well("agent.head", "gaussian", "categorical"),
    ),
    Claim(
        "GRU+PMM: 1.5M parameters",
        COMPARISON,
        DOCUMENT_SIZES,
        has_parameters("gru_pmm", "total", 1.45e6, 1.55e6),
    ),
    Claim(
        "Transformer: 10M+ parameters",
        COMPARISON,
        DOCUMENT_SIZES,
        has_parameters("transformer", "total", 1e7, float("inf")),
    ),
    Claim(
        "Transformers train slower than GRU+PMM (steps per processor second)",
        COMPARISON,
        "horizons",
        larger("processor_speed", "gru_pmm", "transformer", text.rounded, SPEED),
    ),
    Claim(
        "On long sequences (horizon >= 50) transformers are better than GRU+PMM",
        COMPARISON,
        "horizons",
        better("transformer", "gru_pmm", horizons(50)),
    ),
    Claim(
        "LSTM has more parameters than GRU",
        COMPARISON,
        DOCUMENT_SIZES,
        larger("parameters", "lstm", "gru", text.count, EXACT),
    ),
    Claim(
        "GRU trains faster than LSTM (steps per processor second)",
        COMPARISON,
        "horizons",
        larger("processor_speed", "gru", "lstm", text.rounded, SPEED),
    ),
    Claim("GRU and LSTM perform alike (success within 0.05)", COMPARISON, "horizons", similar("gru", "lstm")),
    Claim(
        "On long sequences (horizon >= 50) Mamba is better than GRU+PMM",
        COMPARISON,
        "horizons",
        better("mamba", "gru_pmm", horizons(50)),
    ),
    Claim("Mamba runs on GPUs only", COMPARISON, "horizons", _needs_a_gpu),
    Claim(
        "4 environments and a GRU of 1 x 128 train faster on a CPU than 2 x 256 (steps per processor second)",
        OPTIMISATION,
        "doc-presets",
        cpu_preset_is_faster,
    ),
    Claim(
        "Top-k attention scales the memory to 1,000+ slots (1,024 sparse slots against 64 dense ones)",
        RESEARCH,
        "research",
        better("pmm_sparse", "gru_pmm", horizons()),
    ),
    Claim(
        "A hierarchy of 16 x 64 and 256 x 128 slots helps (against 64 x 128)",
        RESEARCH,
        "research",
        better("pmm_hierarchical", "gru_pmm", horizons()),
    ),
    Claim("MAML learns to adapt in 5 gradient steps", RESEARCH, "research", adapts_in_a_few_steps),
]


def claims_table(evidence: Mapping[str, pd.DataFrame]) -> Table:
    """Return every claim with what was measured and what follows.

    Args:
        evidence: suite -> the tidy frame of its runs.
    """
    rows = []
    for claim in CLAIMS:
        frame = evidence.get(claim.suite)
        finding = None if frame is None or frame.empty else claim.judge(frame)
        rows.append(
            {
                "claim": claim.words,
                "section": claim.section,
                "suite": claim.suite,
                "runs": finding.runs if finding else 0,
                "seeds": frame.seed.nunique() if finding and frame is not None else 0,
                "measured": finding.measured if finding else text.NOTHING,
                "verdict": finding.verdict if finding else NOT_MEASURED,
            }
        )
    values = pd.DataFrame(rows)
    shown = values.rename(columns=str.capitalize).astype(str)
    return Table(values, shown)
