"""What the operators' commands share: their options, and reading what was written there."""

import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.client import Client

from headgate.cli.connect import connect_temporal, database
from headgate.cli.user import current_user
from headgate.gate.clock import now_ms
from headgate.model.audit import Order
from headgate.model.contract import Actor, Name, Why
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import LedgerAction, LedgerCommand
from headgate.orchestrator.durations import moment, parse_duration
from headgate.orchestrator.operate import new_command_id
from headgate.store.address import DATABASE_URL
from headgate.store.database import Database
from headgate.store.migrate import require_current
from headgate.store.requests import RequestStore

Written = TypeVar("Written", bound=BaseModel)

REASON: Final = typer.Option(..., "--reason", help="Why; stands in the audit.")
ACTOR: Final = typer.Option("", "--actor", help="Who; the user that runs it, if not given.")
FOR: Final = typer.Option(None, "--for", help="How long, such as 30m; until lifted, if not given.")
UNTIL: Final = typer.Option(
    None, "--until", help="In place of --for: until when, such as 2026-11-24T22:00Z."
)
TO: Final = typer.Option(..., "--to", help="What is left, such as 50%; 0: nothing.")
DRY_RUN: Final = typer.Option(False, "--dry-run", help="Show what it would do; change nothing.")
REQUEST_ID: Final = typer.Option(
    None,
    "--request-id",
    help="The same for every attempt at it: it is done once. Stands in the audit.",
)
IF_REVISION: Final = typer.Option(
    None,
    "--if-revision",
    min=0,
    help="Only if people have set nothing since this revision, which --json shows.",
)
JSON: Final = typer.Option(False, "--json", help="Print JSON.")
BELOW_USAGE: Final = typer.Option(
    False, "--allow-below-usage", help="Also if a limit is then below what is held."
)

_PERCENT: Final = re.compile(r"(\d{1,2}(?:\.\d{1,3})?)%")
_SHORTEST_MS: Final = 1_000
_NAME: Final = TypeAdapter[str](Name)
_ACTOR: Final = TypeAdapter[str](Actor)
_WHY: Final = TypeAdapter[str](Why)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
CLI: Final = "cli"
"""How the actors of commands are authenticated: by whoever lets them use Postgres and Temporal."""


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


@asynccontextmanager
async def perhaps_database() -> AsyncIterator[Database | None]:
    """Use Postgres for the block, which can be done without; None: nobody has said where it is."""
    if not os.environ.get(DATABASE_URL):
        yield None
        return
    async with database() as db:
        yield db


def written(kind: type[Written], /, **fields: Any) -> Written:
    """Return a message made of what the options say.

    Raises:
        ConfigurationError: With the option that is wrong.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        raise ConfigurationError(_problem(error)) from error


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of a command that changes something have in common.

    Attributes:
        id: Of the request.
        actor: Who asks.
        reason: Why.
        dry_run: It is only tried.
        if_revision: What it was decided by.
    """

    id: str
    actor: str
    reason: str
    dry_run: bool = False
    if_revision: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The same, as commands to workflows have it."""
        return {
            "id": self.id,
            "actor": self.actor,
            "reason": self.reason,
            "dry_run": self.dry_run,
            "if_revision": self.if_revision,
        }

    @property
    def order(self) -> Order:
        """The same, for what no workflow is asked for."""
        return Order(self.actor, self.reason, self.id, now_ms(), self.dry_run)

    async def note(
        self, db: Database | None, target: str, kind: Kind | None = None, also: str = ""
    ) -> None:
        """Write down that the command line asks for this, before it is done.

        So the audit can say so, and an id stands for one thing. Where Postgres is away nothing is
        written: what runs can be told to pause all the same.

        Args:
            db: Perhaps not there.
            target: About what.
            kind: What workflow is told of it, if one is.
            also: What is asked beside the words of the command, such as what stands in a file.

        Raises:
            ConfigurationError: The id has been used for something else.
        """
        if self.dry_run or db is None:
            return
        words = [*(word for word in sys.argv[1:] if word != "--json"), *([also] if also else [])]
        with suppress(UnavailableError):
            fits = await RequestStore(db).begin(
                self.id,
                f"cli {self.actor}"[:500],
                CLI,
                hashlib.sha256(json.dumps(words).encode()).digest(),
                target,
                None if kind is None else workflow_id(kind, target),
            )
            if not fits:
                raise ConfigurationError(
                    f"--request-id {self.id}: has been used for something else; use a new one, or "
                    "write the very same command"
                )


def asked(
    reason: str,
    actor: str,
    dry_run: bool = False,
    request_id: str | None = None,
    if_revision: int | None = None,
) -> Asked:
    """Return who asks and why, checked.

    Raises:
        ConfigurationError: One of them cannot stand in the audit.
    """
    if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
        raise ConfigurationError("--request-id: write up to 200 printable signs without spaces")
    who = actor or current_user()
    for name, kind, text in (("actor", _ACTOR, who), ("reason", _WHY, reason)):
        try:
            kind.validate_python(text)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"--{name}: {message[:1].lower()}{message[1:]}") from error
    return Asked(request_id or new_command_id(), who, reason, dry_run, if_revision)


def ledger_command(action: LedgerAction, by: Asked, *, below_usage: bool = False) -> LedgerCommand:
    """Return a command to a ledger."""
    return written(LedgerCommand, action=action, allow_below_usage=below_usage, **by.fields)


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


def _problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if problem["loc"] and problem["loc"][0] in ("actor", "reason"):
        return f"--{problem['loc'][0]}: {message}"
    if problem["type"] == "extra_forbidden":
        return f"{problem['loc'][-1]}: there is no such field"
    return ": ".join([*(str(part) for part in problem["loc"][-1:]), message])
