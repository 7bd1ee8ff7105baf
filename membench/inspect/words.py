"""What was seen inside an agent, in sentences of plain text."""

from membench.inspect.interventions import Interventions
from membench.inspect.looking import WHOLE_STATE, Inspection
from membench.inspect.phases import judge
from membench.inspect.probe import GOOD
from membench.inspect.utilisation import complaints
from membench.report import text
from membench.report.facts import THE_DOCUMENT
from membench.report.text import listed


def answer(found: Inspection) -> list[str]:
    """Return what the page comes to: whether the cue is kept, where, how, and whether that is healthy."""
    return [
        sentence
        for sentence in (kept(found), carried(found), attended(found), healthy(found), phases(found))
        if sentence
    ]


def kept(found: Inspection) -> str:
    """Return whether the answer can be read off the state to the end, and what the agent makes of it."""
    whole = found.retention.get(WHOLE_STATE) or next(iter(found.retention.values()))
    last = float(whole.accuracy[-1])
    agent = f"{found.success:.0%} of the agent's answers are right"
    if not found.sample.delay:
        return f"Nothing that the agent sees before the question says what the answer is; {agent}."
    if last >= GOOD:
        fault = "" if found.success >= GOOD else ": the memory holds it, and the policy is at fault"
        return (
            f"The answer can be read off the state at the query ({last:.0%} of new episodes); {agent}{fault}."
        )
    if whole.lost_at is not None:
        return f"The answer is lost from the state at step {whole.lost_at}; {agent}."
    return f"The answer cannot be read off the state ({last:.0%}, chance {whole.chance:.0%}); {agent}."


def carried(found: Inspection) -> str:
    """Return which part of the state the answer comes from."""
    if not found.swaps:
        return "There is no delay: nothing has to be carried."
    middle, last = found.middle, found.swaps[-1]
    if middle is None or not middle.parts or not last.parts:
        return "Nothing that is carried reaches the answer: swapping the whole state changes nothing."
    if found.only_part:
        return f"The answer comes from {found.only_part}, the only part of the state that differs by episode."
    told = [f"{name} {text.share(share)}" for name, share in _shares(middle)]
    before = [f"{name} {text.share(share)}" for name, share in _shares(last)]
    return (
        f"Causal shares of the answer in the middle of the delay (after step {middle.step}): {listed(told)}; "
        f"before the query: {listed(before)}."
    )


def _shares(swaps: Interventions) -> list[tuple[str, float]]:
    return [(part.name, part.share) for part in sorted(swaps.parts, key=lambda part: -part.share)]


def attended(found: Inspection) -> str:
    """Return how attention is spread at the query."""
    if not found.attention:
        return ""
    told = []
    for one in found.attention:
        if one.is_uniform():
            told.append(f"{one.name} attention is uniform over {one.weights.shape[-1]} {one.places}")
            continue
        where, weight = one.strongest(-1)
        spread = float(one.effective_places()[-1].mean())
        told.append(
            f"{one.name} attention is spread over effectively {spread:.1f} {one.places} "
            f"(most on {one.places.removesuffix('s')} {where}, weight {weight:.2f})"
        )
    return f"At the query, {listed(told)}."


def healthy(found: Inspection) -> str:
    """Return what the document would call unhealthy, and what the document is."""
    document = f"the document ({THE_DOCUMENT})"
    said = [
        f"{name}: {', '.join(unhealthy)}"
        for name in found.judged
        if (unhealthy := complaints(found.utilisation[name][-1], is_slots=bool(found.slot_parts)))
    ]
    if said:
        return f"Outside of what {document} calls healthy: {'; '.join(said)}."
    return f"Utilisation is within what {document} calls healthy."


def phases(found: Inspection) -> str:
    """Return how much of the document's story of three phases is true here."""
    verdicts = [one.verdict for one in judge(found)]
    holding, applying = verdicts.count("holds"), len(verdicts) - verdicts.count("does not apply")
    failing = [f"“{one.sentence}”" for one in judge(found) if one.verdict == "does not hold"]
    rest = f"; not {listed(failing)}" if failing else ""
    return f"Of the document's three phases, {holding} of {applying} sentences that apply hold{rest}."


def not_applying(found: Inspection) -> list[str]:
    """Return what is not shown, and why."""
    said = []
    if not found.attention:
        said.append("Attention: this memory records none.")
    elif not found.slot_parts:
        said.append("Slots: this memory has none; its attention is over the steps of the episode.")
    if not found.slot_parts and not found.attention:
        said.append("Slots: this memory has none; utilisation is that of its state.")
    if not found.sample.delay:
        said.append("What comes after the cue: the agent never sees one.")
    told = found.sample.told
    if told >= max(found.sample.delay, 1):
        said.append(f"Probes before step {told}: until then, what is shown need not say the answer.")
    if not any(one.parts for one in found.swaps):
        said.append("Causal shares: nothing that is carried over the delay reaches the answer.")
    elif found.shares_say_nothing:
        said.append(
            f"Causal shares: {found.only_part} is the only part of the state that differs by episode."
        )
    if found.reach_before is None:
        said.append("Gradient reach before training: there is no untrained agent to compare with.")
    if found.sample.num_questions > 1:
        said.append(f"Of {found.sample.num_questions} questions per episode, all of this is about the first.")
    return said
