"""The deep dive's story of three phases, sentence by sentence, each beside the number that judges it.

Source: the deep dive, "What the Agent Learns". Thresholds are ours and stand in every row.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from membench.inspect.attention import Attention
from membench.inspect.looking import Inspection
from membench.inspect.probe import GOOD

SPECIFIC = 2.0
"""Attention spread over so many places at most goes to one in particular."""

STABLE = 0.05
"""Change per step, as a share of the norm, of a state that is called stable."""

QUIET = 0.1
"""Writing in a step of the delay, as a share of that at the cue, that is called doing nothing."""

NOTICED = 0.1
"""Total variation between the policy at the query and just before, from which the query counts as noticed."""


class Judged(NamedTuple):
    """One sentence of the document, judged."""

    phase: str
    sentence: str
    verdict: str
    """`holds`, `does not hold` or `does not apply`."""
    measured: str


def judge(found: Inspection) -> list[Judged]:
    """Return every sentence of the three phases with its verdict."""
    return [
        Judged(phase, sentence, *_verdict(measure(found)))
        for phase, sentences in PHASES.items()
        for sentence, measure in sentences.items()
    ]


Measured = tuple[bool, str] | str
"""Whether a sentence holds, and the measurement; or why it does not apply."""


def _verdict(measured: Measured) -> tuple[str, str]:
    if isinstance(measured, str):
        return "does not apply", measured
    return ("holds" if measured[0] else "does not hold"), measured[1]


NO_SLOTS = "no slots"
NO_DELAY = "no delay"
NO_CUE = "the agent never sees the cue"
NOT_TOLD = "what was shown by then does not say the answer"


def _detects_cue(found: Inspection) -> Measured:
    if not found.sample.delay:
        return NO_CUE
    if found.sample.told >= found.sample.delay:
        return NOT_TOLD
    accuracy = float(found.retention["hidden"].accuracy[_shown(found)])
    return accuracy >= GOOD, f"probe of the hidden state after the cue: {accuracy:.2f} (at least {GOOD})"


def _writes_to_one_slot(found: Inspection) -> Measured:
    writing = _attention(found, "write")
    if not writing or not found.slot_parts:
        return NO_SLOTS
    if not found.sample.delay:
        return NO_CUE
    spread = min(float(one.effective_places()[_shown(found)].min()) for one in writing)
    return spread <= SPECIFIC, f"the write goes to effectively {spread:.1f} slots (at most {SPECIFIC:.0f})"


def _expects_no_reward(found: Inspection) -> Measured:
    if found.sample.query == 0:
        return NO_DELAY
    if found.discount is None:
        return "values were not trained"
    now, after = (float(found.values[place].mean()) for place in (0, 1))
    expected = now - found.discount * after
    return abs(expected) <= STABLE, f"expected reward of step 0: {expected:+.3f} (within {STABLE})"


def _keeps_hidden_stable(found: Inspection) -> Measured:
    changes = [change for change in _in_delay(found, hidden_changes(found)) if not math.isnan(change)]
    if not changes:
        return NO_DELAY
    change = sum(changes) / len(changes)
    return (
        change <= STABLE,
        f"mean change per step of the delay: {change:.1%} of its norm (at most {STABLE:.0%})",
    )


def _preserves_written(found: Inspection) -> Measured:
    if not found.slot_parts:
        return NO_SLOTS
    if found.sample.told == found.sample.query:
        return NOT_TOLD
    accuracy = max(_accuracy(found, name, -2) for name in found.slot_parts) if len(found.steps) > 1 else 0.0
    return accuracy >= GOOD, f"probe of the slots before the query: {accuracy:.2f} (at least {GOOD})"


def _does_nothing(found: Inspection) -> Measured:
    if not found.slot_parts:
        return NO_SLOTS
    if not found.sample.delay:
        return NO_CUE
    writes = found.writes
    waiting = _in_delay(found, writes)
    if not waiting:
        return NO_DELAY
    share = sum(waiting) / len(waiting) / max(writes[_shown(found)], 1e-12)
    return (
        share <= QUIET,
        f"a step of the delay writes {share:.0%} of what the cue's does (at most {QUIET:.0%})",
    )


def _detects_query(found: Inspection) -> Measured:
    if len(found.steps) < 2 or found.sample.query == found.sample.delay:
        return NO_DELAY
    before, after = (found.policy(place) for place in (-2, -1))
    difference = float((before - after).abs().sum(-1).mean() / 2)
    return (
        difference >= NOTICED,
        f"policy at the query and one step before differ by {difference:.2f} (at least {NOTICED})",
    )


def _reads_from_slots(found: Inspection) -> Measured:
    if not found.slot_parts:
        return NO_SLOTS
    if not found.swaps or not found.swaps[-1].parts:
        return False, "nothing carried over the delay reaches the answer"
    share = found.slot_share(found.swaps[-1])
    return share >= 0.5, f"causal share of the slots just before the query: {share:z.2f} (at least 0.5)"


def _answers(found: Inspection) -> Measured:
    return found.success >= GOOD, f"right answers: {found.success:.2f} (at least {GOOD})"


def hidden_changes(found: Inspection) -> list[float]:
    """Return by which share of its norm the hidden state changes per step, up to each step looked at.

    NaN where it was zero and no longer is.
    """
    changes = [0.0]
    for place in range(1, len(found.steps)):
        before, after = found.hidden[place - 1], found.hidden[place]
        num_steps = found.steps[place] - found.steps[place - 1]
        size, change = (float(one.norm(dim=-1).mean()) for one in (before, after - before))
        share = change / size if size else math.nan if change else 0.0
        changes.append(share / num_steps)
    return changes


def _in_delay(found: Inspection, by_place: list[float]) -> list[float]:
    sample = found.sample
    return [
        value
        for step, value in zip(found.steps, by_place, strict=True)
        if sample.delay <= step < sample.query
    ]


def _shown(found: Inspection) -> int:
    """Return which of the steps looked at is the last that shows the cue."""
    return found.place(max(found.sample.delay - 1, 0))


def _accuracy(found: Inspection, part: str, place: int) -> float:
    return float(found.retention[found.part_of_slots(part)].accuracy[place])


def _attention(found: Inspection, name: str) -> list[Attention]:
    return [one for one in found.attention if one.name.startswith(name)]


PHASES: dict[str, dict[str, Callable[[Inspection], Measured]]] = {
    "1. Cue encoding": {
        "GRU learns to detect one-hot patterns": _detects_cue,
        "PMM writes cue to specific memory slot": _writes_to_one_slot,
        "Value head learns cue phase has no immediate reward": _expects_no_reward,
    },
    "2. Delay maintenance": {
        "GRU maintains stable hidden state": _keeps_hidden_stable,
        "PMM preserves written information": _preserves_written,
        'Agent learns to "do nothing" during delay': _does_nothing,
    },
    "3. Cue retrieval": {
        "GRU detects query phase": _detects_query,
        "PMM reads stored cue information": _reads_from_slots,
        "Policy head decodes memory to action": _answers,
    },
}
"""The document's sentences; of another memory, "GRU" is its hidden state and "PMM" its slots."""
