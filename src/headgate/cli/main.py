"""The commands, and how errors are told: one line, exit code 2, nothing changed."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer
from temporalio.service import RPCError

from headgate.cli import (
    alerts,
    allocate,
    apply,
    audit,
    backtest,
    bench,
    breaker,
    breakers,
    demo,
    dev,
    export,
    holders,
    keys,
    metrics,
    migrate,
    nexus_endpoint,
    notifier,
    plan,
    pool,
    quota,
    search_attributes,
    serve,
    simulate,
    status,
    tenants,
    throttle,
    top,
    why,
    worker,
)
from headgate.model.errors import HeadgateError
from headgate.version import __version__

app = typer.Typer(
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


app.command("allocate")(allocate.command)
app.command("apply")(apply.command)
app.command("migrate")(migrate.command)
app.command("worker")(worker.command)
app.command("serve")(serve.command)
app.command("dev")(dev.command)
app.command("demo")(demo.command)
app.command("backtest")(backtest.command)
app.command("simulate")(simulate.command)
app.command("bench")(bench.command)
app.command("plan")(plan.command)
app.command("status")(status.command)
app.command("breakers")(breakers.command)
app.command("tenants")(tenants.command)
app.command("top")(top.command)
app.command("metrics")(metrics.command)
app.command("audit")(audit.command)
app.command("export")(export.command)
app.command("why")(why.command)
app.command("holders")(holders.command)
app.command("release")(holders.release)
app.command("nexus-endpoint")(nexus_endpoint.command)
app.command("search-attributes")(search_attributes.command)
app.add_typer(breaker.app, name="breaker")
app.add_typer(quota.app, name="quota")
app.add_typer(pool.app, name="pool")
app.add_typer(throttle.app, name="throttle")
app.add_typer(alerts.app, name="alerts")
app.add_typer(notifier.app, name="notifier")
app.add_typer(keys.app, name="keys")


def main() -> NoReturn:
    """Run the command line."""
    arguments = sys.argv[1:] or ["--help"]
    try:
        code = app(arguments, prog_name="headgate", standalone_mode=False)
    except typer.TyperException as error:  # the command line cannot be understood
        _end(f"{error.format_message().rstrip('.')}; see {_help_for(arguments)}", 2)
    except HeadgateError as error:
        _end(str(error), error.exit_code)
    except RPCError as error:
        _end(f"Temporal: {error.message} ({error.status.name})", 2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
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
    has done all it should ends with a crash. Seen in about one of twenty commands.
    """
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _help_for(arguments: list[str]) -> str:
    known = {command.name for command in app.registered_commands}
    command = next((argument for argument in arguments if argument in known), None)
    return f"headgate {command} --help" if command else "headgate --help"
