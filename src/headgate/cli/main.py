"""The commands, and how errors are told: one line, exit code 2, nothing changed."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer
from temporalio.service import RPCError

from headgate.cli.commands import Commands
from headgate.devstack.temporal_connection import AWAY
from headgate.model.errors import HeadgateError
from headgate.version import __version__

app = typer.Typer(
    cls=Commands,
    name="headgate",
    help="Durable circuit breakers and tenant quotas for job orchestrators on Temporal.",
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"headgate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line."""
    arguments = sys.argv[1:] or ["--help"]
    try:
        code = app(arguments, prog_name="headgate", standalone_mode=False)
    except typer.TyperException as error:  # the command line cannot be understood
        # Of a group of commands without one the help was printed: that says it all.
        said = error.format_message().rstrip(".")
        _end(f"{said}; see {_path(error)} --help" if said else "", 2)
    except HeadgateError as error:
        _end(str(error), error.exit_code)
    except RPCError as error:
        said = "does not answer" if error.status in AWAY else error.message
        _end(f"Temporal: {said} ({error.status.name.lower()})", 2)
    except (KeyboardInterrupt, typer.Abort):
        _leave(130)
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else 0)
    _leave(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> NoReturn:
    """Tell of an error; only a file with several mistakes has several lines."""
    for line in message.splitlines():
        print(f"headgate: {line}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process without tearing Python down.

    A thread of Temporal's core may still be about to let go of Python after the last answer; if the
    interpreter is being finalised just then, it aborts ("PyGILState_Release"), and a command that
    has done all it should ends with a crash. Seen in about one of twenty commands; or it does not
    end at all, as a demo that was ended at once while it waited for hundreds of jobs.
    """
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _path(error: typer.TyperException) -> str:
    """Return the command that was misunderstood, such as ``headgate quota override``."""
    context = getattr(error, "ctx", None)  # only errors of usage have one
    return "headgate" if context is None else str(context.command_path)
