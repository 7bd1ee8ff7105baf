"""Oracle: no memory on a task that shows the answer, the ceiling of the harness.

The network is that of `architectures.none`; the difference lies in the task, which shows the cue again at the
query (`task.reveal_cue`). What keeps this agent from the highest score, and how many steps it needs to get
there, is the harness's doing and no memory's.
"""

from typing import Any, ClassVar

from architectures.none import NoMemory


class Oracle(NoMemory):
    """`NoMemory` on the task's own answer."""

    settings: ClassVar[dict[str, Any]] = {"task": {"reveal_cue": True}}
