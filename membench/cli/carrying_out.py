"""What the commands that train share: a results folder, the processes, a display, and how to go on."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from click.exceptions import Exit

from membench.care import Care
from membench.cli.printing import say, stderr
from membench.engine import LOCAL, Engine
from membench.errors import one_line

if TYPE_CHECKING:
    from membench.config import RunConfig
    from membench.records import RunRecord


def load_pytorch_on_the_side(engine: Engine) -> None:
    """Have the server of processes that are to do runs here load PyTorch while this process does."""
    from membench.executors.processes import process_context

    if engine.executor == LOCAL.executor:
        process_context()


def command_for_all() -> str:
    """Return the command as it was typed, without the part of the runs that this program does."""
    words = sys.argv[1:]
    values = {place + 1 for place, word in enumerate(words) if word == "--shard"}
    kept = [
        word
        for place, word in enumerate(words)
        if place not in values and word.partition("=")[0] != "--shard"
    ]
    return shlex.join(["membench", *kept])


def open_results_folder(results: Path) -> None:
    """Make a results folder if need be; what lies in the place of records or a plan and is none is set aside.

    Raises:
        InputError: if it cannot be written to.
    """
    from membench.folders import make_results_folder
    from membench.plan import set_aside_plan
    from membench.records import set_aside_faults

    make_results_folder(results)
    for sentence in [*set_aside_faults(results), *set_aside_plan(results)]:
        say(sentence)


@contextmanager
def keeping_what_is_done(results: Path, *, refresh: bool) -> Iterator[None]:
    """Answer Ctrl-C, SIGTERM and a full disk with how to go on; a signal's exit code is 128 + its number."""
    from membench.execute import Stopped

    command = shlex.join(["membench", *sys.argv[1:]])
    again = f"and this {'begins anew' if refresh else 'goes on'}: {command}"
    partly = (
        f"runs that have ended are kept in {results}, those under way as of their last checkpoint if they "
        f"had one, {again}"
    )
    try:
        yield
    except Stopped as stop:
        say(f"interrupted; what was done is kept in {results}, {again}")
        raise Exit(128 + stop.number) from None
    except KeyboardInterrupt:
        say(f"interrupted; {partly}")
        raise Exit(128 + signal.SIGINT) from None
    except OSError as error:
        say(f"membench: {error.filename or results}: {error.strerror}; {partly}")
        sys.exit(1)


def usable_records(configs: list["RunConfig"], results: Path) -> list["RunRecord"]:
    """Return the records of those runs that a results folder holds already and that did not fail."""
    from membench.records import read_records

    wanted = {config.run_id for config in configs}
    return [
        record
        for record in read_records(results)[0]
        if record.status != "failed" and record.config.run_id in wanted
    ]


def carry_out(
    configs: list["RunConfig"], results: Path, care: Care, engine: Engine, *, refresh: bool = False
) -> list["RunRecord"]:
    """Do those runs that the results folder lacks or that failed, or with `refresh` all, with a display."""
    from membench.display import SuiteDisplay
    from membench.execute import forget_checkpoints, run_all

    records = [] if refresh else usable_records(configs, results)
    present = {record.config.run_id for record in records}
    missing = [config for config in configs if config.run_id not in present]
    num_present = len(configs) - len(missing)
    if num_present:
        present = "1 run is" if num_present == 1 else f"{num_present} runs are"
        say(f"{present} there already, {len(missing)} to do")
        tell_what_was_made_otherwise(records)
    if not missing:
        return []
    if refresh:
        forget_checkpoints(missing, results)
    with (
        keeping_what_is_done(results, refresh=refresh),
        SuiteDisplay(stderr(), len(configs), num_present) as display,
    ):
        return run_all(missing, results, on_change=display.update, care=care, engine=engine)


def tell_what_was_made_otherwise(records: list["RunRecord"]) -> None:
    """Say how many of some records are of other code or libraries than would make them now."""
    from membench.describe import versions
    from membench.provenance import differences

    ours = {name: versions(name) for name in {record.architecture for record in records}}
    found = [differences(record.versions, ours[record.architecture]) for record in records]
    if differing := [one for one in found if one]:
        count = "1 of them is" if len(differing) == 1 else f"{len(differing)} of them are"
        say(
            f"{count} of other code or libraries (for example {differing[0][0]}); such "
            "runs count and are marked, --refresh does them again"
        )


def train_with_display(config: "RunConfig", results: Path, care: Care, *, refresh: bool) -> None:
    """Do one run, with a display of how far it has come."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from membench.execute import Standing, forget_checkpoints, run_all

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    if refresh:
        forget_checkpoints([config], results)
    with (
        keeping_what_is_done(results, refresh=refresh),
        Progress(*columns, console=stderr(), transient=True) as display,
    ):
        task = display.add_task(one_line(config.label), total=config.total_timesteps, note="")

        def show(standing: Standing) -> None:
            if note := standing.progress_of(config):
                greedy = "-" if note.success is None else f"{note.success:.2f}"
                text = f"{note.steps:,} steps, greedy {greedy}, sampled {note.train_success or 0:.2f}"
                display.update(task, completed=note.steps, note=text)

        run_all([config], results, on_change=show, care=care)
