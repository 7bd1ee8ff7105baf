"""What a process of the pool does: one run, from its checkpoint if it has one, talking into the run's log."""

import errno
import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import torch

from membench import logs
from membench.checkpoints import Checkpoint, Interrupted, checkpoint_path
from membench.config import RunConfig
from membench.errors import InputError
from membench.executors import Assignment, Ending
from membench.executors.processes import STOPS
from membench.folders import record_path, stamp_of, weights_path
from membench.progress import noting_progress, progress_path
from membench.records import RunRecord, describe_outcome, write_record
from membench.train import failed_record, train
from membench.training import Progress
from membench.usage import process_started

log = logging.getLogger(__name__)


def work(assignment: bytes, connection: Connection) -> None:
    """Carry out an assignment in a process of its own, and send back how it ended."""
    leaving = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the program decides
    for number in set(STOPS) - {signal.SIGINT}:
        signal.signal(number, lambda number, frame: leaving.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    follow_the_program()
    ending = _attempt(msgspec.json.decode(assignment, type=Assignment), leaving.is_set)
    connection.send_bytes(msgspec.json.encode(ending))


def follow_the_program() -> None:
    """See that this process ends at once when the program that started it does, however that ends."""
    program = multiprocessing.parent_process()
    assert program is not None

    def follow() -> None:
        program.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def _attempt(assignment: Assignment, is_leaving: Callable[[], bool]) -> Ending:
    config, results = assignment.config, Path(assignment.results)
    path = record_path(results, config.run_id)
    with logs.claim(results, config.run_id) as claimed:
        if not claimed:
            return Ending("busy")
        if stamp_of(path) not in (None, assignment.record_before):
            return Ending("done")
        _speak_into(logs.log_path(results, config.run_id))
        remove_unfinished_files(results, config.run_id)
        log.info("started: %s, process %d", config.label, os.getpid())
        checkpoint = Checkpoint(
            checkpoint_path(results, config.run_id),
            config,
            seconds=assignment.checkpoint_seconds,
            is_interrupted=is_leaving,
        )
        try:
            with noting_progress(results, config.run_id) as note:
                record = run_here(
                    config, results, on_progress=note, started=process_started(), checkpoint=checkpoint
                )
        except Interrupted:
            log.info("interrupted; its checkpoint is complete")
            return Ending("interrupted")
        except InputError as error:
            log.error("%s", error)
            return Ending("mistake", str(error))
        except OSError as error:
            if not is_lack_of_room(error):
                raise
            return Ending("no room", os.strerror(error.errno or 0))
        log.info("ended: %s", describe_outcome(record))
        return Ending("done")


def run_here(
    config: RunConfig,
    results: Path,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    started: float | None = None,
    checkpoint: Checkpoint | None = None,
) -> RunRecord:
    """Train one agent in this process and write its weights and its record.

    An error that is neither the user's nor a lack of memory or of room on the disk ends as a record with
    status `failed`. The checkpoint goes once there is a record, unless the run failed: then it may yet be of
    use.
    """
    try:
        weights = weights_path(results, config.run_id)
        record = train(
            config, weights=weights, started=started, on_progress=on_progress, checkpoint=checkpoint
        )
    except (InputError, Interrupted):
        raise
    except Exception as error:
        if is_lack_of_memory(error) or is_lack_of_room(error):
            raise
        log.exception("failed")
        where = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        record = failed_record(config, cause)
    write_record(results, record)
    if checkpoint is not None and record.status != "failed":
        checkpoint.path.unlink(missing_ok=True)
    return record


def is_lack_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory has run out; PyTorch has no type for it on a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def is_lack_of_room(error: Exception) -> bool:
    """Return whether an error says that nothing more can be written where results go."""
    causes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
    return isinstance(error, OSError) and error.errno in causes


def remove_unfinished_files(results: Path, run_id: str) -> None:
    """Remove what a process left that was killed while it wrote; only for who holds the run's lock."""
    for place in (record_path, checkpoint_path, progress_path):
        folder = place(results, run_id).parent
        folder.mkdir(exist_ok=True)
        for path in folder.glob(f".{run_id}.*"):
            path.unlink()
    progress_path(results, run_id).unlink(missing_ok=True)


def _speak_into(path: Path) -> None:
    """Send all that this process says, warnings and the traces of crashes among it, into a log."""
    with path.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    faulthandler.enable()
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt=logs.TIME_FORMAT, force=True)
    logging.getLogger("membench").setLevel(logging.INFO)
    logging.captureWarnings(True)
