"""What was seen inside an agent -> tables, each as values and as text."""

import math
from typing import Any

import pandas as pd

from membench.inspect.looking import Inspection
from membench.inspect.phases import judge
from membench.inspect.utilisation import complaints
from membench.report import text
from membench.report.tables import Table

MOST_NUMBERS = 3
"""Units of the state that an excerpt shows, as in the document."""


def tables_for(found: Inspection) -> dict[str, Table]:
    """Return every table that applies, by name."""
    made = {
        "utilisation": utilisation_table(found),
        "retention": retention_table(found),
        "phases": phases_table(found),
        "episode": episode_table(found),
    }
    if found.attention:
        made["attention"] = attention_table(found)
    if any(one.parts for one in found.swaps):
        made["interventions"] = interventions_table(found)
    return made


def utilisation_table(found: Inspection) -> Table:
    """Return norm and saturation of every part of the state at the query, and the document's judgement."""
    rows = []
    for name, over_time in found.utilisation.items():
        last = over_time[-1]
        judgement = "; ".join(complaints(last, is_slots=bool(found.slot_parts))) or "healthy"
        rows.append({"part": name, **last._asdict(), "judgement": judgement if name in found.judged else ""})
    values = pd.DataFrame(rows)
    shown = {
        "Part of the state": values.part,
        "Mean norm": values.norm.map(text.share),
        "Saturation": values.saturation.map(text.share),
        "Effective slots": values.effective_slots.astype(float).map(text.tenths),
        "Judgement": values.judgement,
    }
    return Table(values, pd.DataFrame(shown))


def retention_table(found: Inspection) -> Table:
    """Return how well the answer can be read off every part after the cue, in the delay, and at the query.

    Missing where what was shown by then does not say the answer.
    """
    places = {
        "after the cue": found.place(max(found.sample.delay - 1, 0)),
        "middle of the delay": found.place(found.sample.middle_of_delay),
        "at the query": len(found.steps) - 1,
    }
    values = pd.DataFrame(
        {
            "part": name,
            **{
                when: float(one.accuracy[place]) if found.steps[place] >= found.sample.told else math.nan
                for when, place in places.items()
            },
            "lost_at": one.lost_at,
            "chance": one.chance,
        }
        for name, one in found.retention.items()
    )
    shown = {
        "Part of the state": values.part,
        **{when.capitalize(): values[when].map(text.share) for when in places},
        "Lost at step": values.lost_at.astype(float).map(text.count),
        "Chance": values.chance.map(text.share),
    }
    return Table(values, pd.DataFrame(shown))


def attention_table(found: Inspection) -> Table:
    """Return how widely every attention is spread, and whether it depends on the answer."""
    shown_at = found.place(max(found.sample.delay - 1, 0))
    rows = []
    for one in found.attention:
        for when, place in (("at the cue", shown_at), ("at the query", len(found.steps) - 1)):
            where, weight = one.strongest(place)
            rows.append(
                {
                    "attention": one.name,
                    "when": when,
                    "places": one.places,
                    "effective_places": float(one.effective_places()[place].mean()),
                    "strongest": where,
                    "weight": weight,
                    "depends_on_answer": one.depends_on_answer(place),
                    "uniform": one.is_uniform(place),
                }
            )
    values = pd.DataFrame(rows)
    shown = {
        "Attention": values.attention,
        "When": values.when,
        "Spread over": [
            f"{n:.1f} {places}" for n, places in zip(values.effective_places, values.places, strict=True)
        ],
        "Most on": values.strongest.map(str).mask(values.uniform, text.NOTHING),
        "With weight": values.weight.map("{:.3f}".format).mask(values.uniform, text.NOTHING),
        "Differs by answer": values.depends_on_answer.map("{:.3f}".format),
        "Uniform": values.uniform.map({True: "yes", False: "no"}),
    }
    return Table(values, pd.DataFrame(shown))


def interventions_table(found: Inspection) -> Table:
    """Return what swapping and zeroing every part of the state does to the answers, at every step tried."""
    values = pd.DataFrame(
        {
            "step": one.step,
            "part": part.name,
            "share": part.share,
            "effect": part.effect,
            "following": part.following,
            "success_without": part.success_without,
        }
        for one in found.swaps
        for part in one.parts
    )
    shown = {
        "After step": values.step.map(str),
        "Part of the state": values.part,
        "Causal share": values.share.map(text.share),
        "Effect of swapping it": values.effect.map(text.share),
        "Answers that follow it": values.following.map(text.share),
        "Success when zeroed": values.success_without.map(text.share),
    }
    return Table(values, pd.DataFrame(shown))


def phases_table(found: Inspection) -> Table:
    """Return the document's sentences about the three phases, judged."""
    values = pd.DataFrame(one._asdict() for one in judge(found))
    headings = ["Phase", "The document says", "Verdict", "Measured"]
    return Table(values, values.set_axis(headings, axis=1))


def episode_table(found: Inspection) -> Table:
    """Return the first episode, step by step."""
    values = pd.DataFrame(_row(found, place) for place in range(len(found.steps)))
    return Table(values, values.map(str).rename(columns=str.capitalize))


def _row(found: Inspection, place: int) -> dict[str, str | int]:
    own = found.answer_place(0)
    policy = found.policy(place)[0]
    row: dict[str, str | int] = {
        "step": found.steps[place],
        "input": _excerpt(found.sample.observations[0, found.steps[place]].tolist(), "{:g}", most=8),
        "hidden": _excerpt(found.hidden[place, 0].tolist(), "{:z.2f}"),
    }
    for one in found.attention:
        where, weight = one.strongest(place, own)
        most = f"{one.places.removesuffix('s')} {where} ({weight:.2f})"
        row[one.name] = "uniform" if one.is_uniform(place) else most
    return row | {"policy": _excerpt(policy.tolist(), "{:.2f}", most=8), "action": int(policy.argmax())}


def _excerpt(numbers: list[float], form: str, most: int = MOST_NUMBERS) -> str:
    shown = [form.format(number) for number in numbers[:most]]
    return f"[{', '.join([*shown, *['...'] * (len(numbers) > most)])}]"


def in_words(found: Inspection) -> list[str]:
    """Return the first episode as the document tells it, a line of Markdown per phase."""
    delay, query = found.sample.delay, found.sample.query
    phases = [("Cue", 0, delay - 1), ("Delay", delay, query - 1), ("Query", query, query)]
    lines = []
    for name, first, last in phases:
        if last < first or (name == "Cue" and query == 0):
            continue
        steps = f"Step {first}" if first == last else f"Steps {first}-{last}"
        begin, end = _row(found, found.place(first)), _row(found, found.place(last))
        told = [
            f"{key} {begin[key]}" + (f" to {end[key]}" if end[key] != begin[key] else "")
            for key in begin
            if key != "step"
        ]
        lines.append(f"**{steps} ({name})**: {'; '.join(map(text.escape_markdown, told))}.")
    return lines


def summary(found: Inspection) -> dict[str, Any]:
    """Return the values of every table, for programs."""
    return {name: table.values.to_dict("records") for name, table in tables_for(found).items()}
