"""What a person sees while runs are under way: live on a terminal, one line per finished run elsewhere."""

from collections import Counter
from datetime import timedelta
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from membench.errors import one_line
from membench.execute import REFUSED_SECONDS, Standing
from membench.records import describe_outcome

STATUS_STYLES = {"solved": "green", "unsolved": "yellow", "diverged": "red", "failed": "bold red"}


class SuiteDisplay:
    """The progress of a pool: a bar, what is running, what is solved so far."""

    def __init__(self, console: Console, num_planned: int, num_present: int):
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.task = self.bar.add_task("runs", total=num_planned, completed=num_present, note="")
        self.num_present, self.num_shown = num_present, 0
        self.is_waiting, self.is_refused = False, False
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "SuiteDisplay":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def update(self, standing: Standing) -> None:
        """Show where the pool stands."""
        for record in standing.finished[self.num_shown :]:
            line = Text(describe_outcome(record))
            line.stylize(STATUS_STYLES[record.status], 0, len(record.status))
            self.console.print(line, soft_wrap=True)
        self.num_shown = len(standing.finished)
        if standing.elsewhere and not standing.running and not self.is_waiting:
            count = len(standing.elsewhere)
            sentence = f"waiting for another process at work on {count} run{'s' * (count != 1)}"
            self.console.print(sentence, soft_wrap=True)
        self.is_waiting = bool(standing.elsewhere) and not standing.running
        if standing.refusal and not self.is_refused:
            sentence = (
                f"{standing.refusal}; until they are taken, they are offered every {REFUSED_SECONDS:g} s"
            )
            self.console.print(Text(one_line(sentence)), soft_wrap=True)
        self.is_refused = bool(standing.refusal)
        if self.console.is_terminal:
            self.bar.update(self.task, completed=self.num_present + self.num_shown, note=self._note(standing))
            self.live.update(Group(self.bar, self._running(standing)))

    @staticmethod
    def _note(standing: Standing) -> str:
        counts = Counter(record.status for record in standing.finished)
        parts = [f"{count} {status}" for status, count in counts.items()]
        if (seconds := standing.seconds_left()) is not None:
            parts.append(f"about {timedelta(seconds=round(seconds))} left")
        return ", ".join(parts)

    @staticmethod
    def _running(standing: Standing) -> Table:
        table = Table(box=None, padding=(0, 2), show_header=bool(standing.running))
        for column in ("running", "steps", "greedy success", "sampled success"):
            table.add_column(column, justify="left" if column == "running" else "right")
        for config in standing.running:
            note = standing.progress_of(config)
            table.add_row(
                Text(one_line(config.label)),
                f"{note.steps:,} / {note.total_timesteps:,}" if note else "starting",
                *(
                    "" if share is None else f"{share:.2f}"
                    for share in ((note.success, note.train_success) if note else (None, None))
                ),
            )
        return table
