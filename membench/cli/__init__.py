"""The command line: parse, call, print. Heavy imports happen inside the commands, so that help is quick."""

import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Any, NoReturn

import click

from membench import __version__
from membench.cli.benching import bench
from membench.cli.comparing import compare
from membench.cli.inspecting import inspect
from membench.cli.printing import say
from membench.cli.running import run, train, tune
from membench.cli.showing import check, claims, describe, diagnose, list_, report, status
from membench.errors import InputError, unknown_name

INTERRUPTED = 130


class Terminated(SystemExit):
    """SIGTERM has come."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(128 + number)


class OneLineErrors(click.Group):
    """A command group that answers a mistake with one line on standard error and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command that was asked for and exit; SIGTERM ends it as Ctrl-C does, with 143 for 130."""
        if isinstance(sys.stdout, TextIOWrapper):  # which may take ASCII alone
            sys.stdout.reconfigure(errors="replace")
        signal.signal(signal.SIGTERM, _terminate)
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}))
        except (click.ClickException, InputError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            say(f"membench: {message}")
            sys.exit(2)
        except (
            OSError
        ) as error:  # a full disk, a folder that is gone: not the user's mistake, no fault of ours
            say(f"membench: {error.filename or 'output'}: {error.strerror or error}")
            sys.exit(1)
        except click.Abort:
            say("interrupted")
            sys.exit(INTERRUPTED)
        except Terminated:
            say("interrupted")
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which name is nearest."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown_name("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(
    cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="membench")
def main() -> None:
    """Which memory should a reinforcement-learning agent have?

    Start with: membench run --suite horizons
    """


COMMANDS = (
    *(run, train, tune, status, report, claims, compare, inspect),
    *(list_, describe, diagnose, check, bench),
)
for _command in COMMANDS:
    main.add_command(_command)
