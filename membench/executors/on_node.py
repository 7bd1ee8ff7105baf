"""A run on a machine of a cluster: in a process of the local pool there, looked after by a task or job."""

import msgspec

from membench.executors import Assignment, Ending
from membench.executors.local import LocalPool

LOOK_SECONDS = 0.5
"""Time between two looks at the process."""


class RunOnNode:
    """What a task of Ray or a job of Slurm does: one run."""

    def __init__(self, assignment: bytes):
        self._pool = LocalPool()
        self._jobs = self._pool.start([msgspec.json.decode(assignment, type=Assignment)])
        self._ending: bytes | None = None

    def finish(self) -> bytes:
        """Return how the run ended, once it has; a signal's handler may have seen to that meanwhile."""
        while self._ending is None:
            if self._pool.wait(self._jobs, LOOK_SECONDS) and self._ending is None:
                self._ending = msgspec.json.encode(self._jobs[0].ending())
        return self._ending

    def ask_to_leave(self) -> None:
        """Have the run write a checkpoint and end."""
        if self._ending is None:
            self._jobs[0].ask_to_leave()

    def leave(self) -> bytes:
        """Have the run write a checkpoint and end; return how it ended, once it has."""
        self.ask_to_leave()
        return self.finish()


def read_ending(ending: bytes) -> Ending:
    """Return what `RunOnNode` has sent."""
    return msgspec.json.decode(ending, type=Ending)
