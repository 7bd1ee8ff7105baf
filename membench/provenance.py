"""Where records come from: the code, the libraries and the machine that each was made with.

Records of different origin may lie in one folder, as after an upgrade or where machines shared the runs. All
of them count; that they differ is said, and every table that it touches is marked.
"""

from collections.abc import Mapping

from membench.records import RunRecord

CODE = ("membench", "python", "torch", "numpy", "code")
"""What results depend on, as `membench.describe.versions` names it, beside `memory` of one's own memory. A
`commit` says where to look a version up, and alone no more than `code` does."""

MACHINE = ("processor", "cores", "gpu", "system")
"""What timings depend on, as `membench.describe.machine` names it."""


def code_origins(records: list[RunRecord]) -> list[str]:
    """Return in words, record by record, what it was computed with: equal for results that compare.

    The digest of a memory's own file is in it where the records of that memory have several.
    """
    digests: dict[str, set[str | None]] = {}
    for record in records:
        digests.setdefault(record.architecture, set()).add(record.versions.get("memory"))
    return [
        _told(record.versions, (*CODE, "memory") if len(digests[record.architecture]) > 1 else CODE)
        for record in records
    ]


def machine_origins(records: list[RunRecord]) -> list[str]:
    """Return in words, record by record, the machine that timed it."""
    return [_told(record.machine, MACHINE) for record in records]


def numbered(origins: list[str], records: list[RunRecord]) -> dict[str, int]:
    """Return a number for each distinct origin of `records`, from 1 on, that of the latest record first."""
    latest: dict[str, str] = {}
    for origin, record in zip(origins, records, strict=True):
        latest[origin] = max(latest.get(origin, ""), record.finished_at)
    newest_first = sorted(sorted(latest), key=lambda origin: latest[origin], reverse=True)
    return {origin: number for number, origin in enumerate(newest_first, start=1)}


def mixtures(records: list[RunRecord]) -> list[str]:
    """Return a sentence on each way in which the origins of records differ."""
    found = {
        "different code or libraries, so that their results may differ for that alone": code_origins(records),
        "different machines, so that their speeds and seconds do not compare": machine_origins(records),
    }
    return [f"Runs of {what}." for what, origins in found.items() if len(set(origins)) > 1]


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return in words which of the versions that results depend on differ from ours."""
    return [
        f"{name} {theirs.get(name, 'not stated')}, here {ours.get(name, 'not stated')}"
        for name in (*CODE, "memory")
        if theirs.get(name) != ours.get(name)
    ]


def _told(facts: Mapping[str, str | int], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts) or "not stated"
