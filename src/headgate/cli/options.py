"""What the operators' commands share: their options, and reading what was written there."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.client import Client

from headgate.cli.connect import connect_temporal, database
from headgate.cli.durations import parse_duration
from headgate.cli.user import current_user
from headgate.gate.clock import now_ms
from headgate.model.contract import Name
from headgate.model.errors import ConfigurationError
from headgate.model.ledger import LedgerAction, LedgerCommand
from headgate.orchestrator.operate import new_command_id
from headgate.store.database import Database
from headgate.store.migrate import require_current

Written = TypeVar("Written", bound=BaseModel)

REASON: Final = typer.Option(..., "--reason", help="Why; stands in the audit.")
ACTOR: Final = typer.Option("", "--actor", help="Who; the user that runs it, if not given.")
FOR: Final = typer.Option(None, "--for", help="How long, such as 30m; until lifted, if not given.")
UNTIL: Final = typer.Option(
    None, "--until", help="In place of --for: until when, such as 2026-11-24T22:00Z."
)
TO: Final = typer.Option(..., "--to", help="What is left, such as 50%; 0: nothing.")
DRY_RUN: Final = typer.Option(False, "--dry-run", help="Show what it would do; change nothing.")
JSON: Final = typer.Option(False, "--json", help="Print JSON.")
BELOW_USAGE: Final = typer.Option(
    False, "--allow-below-usage", help="Also if a limit is then below what is held."
)

_PERCENT: Final = re.compile(r"(\d{1,2}(?:\.\d{1,3})?)%")
_SHORTEST_MS: Final = 1_000
_NAME: Final = TypeAdapter[str](Name)


@asynccontextmanager
async def reading() -> AsyncIterator[Database]:
    """Use Postgres for the block, once its schema is as this version needs it."""
    async with database() as db:
        await require_current(db)
        yield db


@asynccontextmanager
async def operating() -> AsyncIterator[tuple[Client, Database]]:
    """Use Temporal and Postgres for the block.

    Postgres is not looked at before it is needed: what runs can be told to pause while it is away.
    """
    async with database() as db:
        yield await connect_temporal(), db


def written(kind: type[Written], /, **fields: Any) -> Written:
    """Return a message made of what the options say.

    Raises:
        ConfigurationError: With the option that is wrong.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        raise ConfigurationError(_problem(error)) from error


def ledger_command(
    action: LedgerAction, reason: str, actor: str, *, dry_run: bool, below_usage: bool = False
) -> LedgerCommand:
    """Return a command to a ledger, with an id of its own."""
    return written(
        LedgerCommand,
        id=new_command_id(),
        actor=actor or current_user(),
        reason=reason,
        action=action,
        dry_run=dry_run,
        allow_below_usage=below_usage,
    )


def share(text: str) -> float:
    """Return a share that is written in per cent, from 0 to below 1."""
    text = text.strip()
    match = _PERCENT.fullmatch(text)
    if match is None and text != "0":
        raise ConfigurationError(f"--to {text!r}: write per cent below 100%, such as 50%, or 0")
    return 0.0 if match is None else float(match[1]) / 100


def name(text: str, what: str) -> str:
    """Return a name, checked."""
    try:
        return _NAME.validate_python(text)
    except ValidationError:
        raise ConfigurationError(
            f"{what} {text!r}: write letters, digits and . _ : @ / + - (at most 200)"
        ) from None


def pairs(texts: Sequence[str], example: str) -> dict[str, str | None]:
    """Return what is written as ``name=value``; the value ``none`` is None."""
    found: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise ConfigurationError(f"{text!r}: write name=value, such as {example}")
        if key in found:
            raise ConfigurationError(f"{key} is given twice")
        found[key] = None if value == "none" else value
    return found


def for_ms(duration: str | None, until: str | None = None) -> int | None:
    """Return the milliseconds of ``--for``, or up to ``--until``, if either is given."""
    if until is None:
        return None if duration is None else parse_duration(duration, "--for")
    if duration is not None:
        raise ConfigurationError("say how long by --for or by --until, not by both")
    left_ms = moment(until, "--until") - now_ms()
    if left_ms < _SHORTEST_MS:
        raise ConfigurationError(f"--until {until!r} has passed already: name a time to come")
    return left_ms


def until_ms(duration: str | None, until: str | None = None) -> int | None:
    """Return the Unix time at which ``--for`` is over, or ``--until``, if either is given."""
    length = for_ms(duration, until)
    if length is None or until is None:
        return None if length is None else now_ms() + length
    return moment(until, "--until")


def moment(text: str, what: str) -> int:
    """Return a time written in ISO 8601, in Unix milliseconds; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
        at_ms = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        at_ms = -1
    if at_ms < 0:
        raise ConfigurationError(f"{what} {text!r}: write a time such as 2026-11-24T22:00Z")
    return at_ms


def _problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if problem["loc"] and problem["loc"][0] in ("actor", "reason"):
        return f"--{problem['loc'][0]}: {message}"
    if problem["type"] == "extra_forbidden":
        return f"{problem['loc'][-1]}: there is no such field"
    return ": ".join([*(str(part) for part in problem["loc"][-1:]), message])
