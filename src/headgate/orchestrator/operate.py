"""What operators tell breakers, ledgers and governors, from whatever place they do it."""

import difflib
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Final, TypeVar

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate.kinds import KINDS, governing
from headgate.model.breaker import BreakerCommand, BreakerView
from headgate.model.entity import CHANGED_SINCE, NOT_FOUND, EntityOptions
from headgate.model.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from headgate.model.ids import DEFAULT, GOVERNANCE_TASK_QUEUE, Kind, workflow_id
from headgate.model.ledger import CommandReply, LedgerCommand
from headgate.model.pool import PoolCommand, PoolView
from headgate.orchestrator.overriding import with_hints
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore

Answer = TypeVar("Answer")
Command = BreakerCommand | LedgerCommand | PoolCommand

_TELL_S: Final = 15.0
_LOOK: Final = timedelta(seconds=10)
_NAMED: Final = 8
_MOST_LISTED: Final = 1_000


async def command_breaker(client: Client, downstream: str, command: BreakerCommand) -> BreakerView:
    """Tell the breaker of ``downstream`` something; it must run already.

    Returns:
        What it is now, or would be with ``dry_run``.

    Raises:
        NotFoundError: No breaker of this name runs, or nothing is set that ``resume`` could end.
        ConflictError: People have changed it since ``if_revision``.
        ConfigurationError: It refused.
        UnavailableError: Temporal or the governance workers do not answer.
    """
    if not await is_running(client, "breaker", downstream):
        there = await _running(client, "breaker")
        raise NotFoundError(f"no breaker runs for {downstream!r}: {_say(there, downstream)}")
    return await _tell(client, "breaker", downstream, command, BreakerView)


async def command_ledger(
    client: Client,
    database: Database,
    tenant: str,
    command: LedgerCommand,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    options: EntityOptions | None = None,
) -> CommandReply:
    """Tell the ledger of ``tenant`` something; started if the tenant is known, but has no job yet.

    Returns:
        What was done, or would be with ``dry_run``; or why the ledger refuses it.

    Raises:
        NotFoundError: There is no such tenant.
        UnavailableError: Temporal, the governance workers or Postgres do not answer.
    """
    await _require_known(client, database, "ledger", tenant)
    reply = await _tell(client, "ledger", tenant, command, CommandReply, task_queue, options)
    return await with_hints(client, database, tenant, command, reply)


async def command_pool(
    client: Client,
    database: Database,
    pool: str,
    command: PoolCommand,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    options: EntityOptions | None = None,
) -> PoolView:
    """Tell the governor of ``pool`` something; started if the pool is configured.

    Returns:
        What it is now, or would be with ``dry_run``.

    Raises:
        NotFoundError: There is no such pool, or nothing is set that ``resume`` could end.
        ConflictError: People have changed it since ``if_revision``.
        ConfigurationError: Its governor refused.
        UnavailableError: Temporal, the governance workers or Postgres do not answer.
    """
    await _require_known(client, database, "governor", pool)
    return await _tell(client, "governor", pool, command, PoolView, task_queue, options)


def new_command_id() -> str:
    """Return an id for a command, the same for every attempt at it; short, as people type it."""
    return secrets.token_hex(6)


async def is_running(client: Client, kind: Kind, subject: str) -> bool:
    """Return whether a governance workflow runs.

    Raises:
        UnavailableError: Temporal does not say.
    """
    handle = client.get_workflow_handle(workflow_id(kind, subject))
    try:
        description = await handle.describe(rpc_timeout=_LOOK)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise _unavailable(kind, subject, error) from error
    return description.status is WorkflowExecutionStatus.RUNNING


async def known_names(database: Database, kind: Kind) -> tuple[set[str], set[str]]:
    """Return whoever is listed in the configuration, and whoever has ever been governed.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    applied = await ConfigurationStore(database).load()
    listed: dict[Kind, Collection[str]] = {
        "breaker": applied.downstreams,
        "ledger": applied.tenants,
        "governor": applied.pools,
    }
    governed = await SnapshotStore(database).subjects(kind)
    return {*listed[kind]} - {DEFAULT}, {*governed} - {DEFAULT}


async def _require_known(client: Client, database: Database, kind: Kind, subject: str) -> None:
    """Start nothing for a name that is only a slip of the pen.

    One that runs is told without a word to Postgres, which may be what is broken.
    """
    if not await is_running(client, kind, subject):
        await require_named(database, kind, subject)


async def require_named(database: Database, kind: Kind, subject: str) -> None:
    """Refuse a name that is neither listed in the configuration nor has ever been governed.

    Raises:
        NotFoundError: With those that were perhaps meant.
        UnavailableError: Postgres does not answer.
    """
    if (why := await absent(database, kind, subject)) is not None:
        raise NotFoundError(why)


async def absent(database: Database, kind: Kind, subject: str) -> str | None:
    """Return that there is no such name, with those that were perhaps meant; None: there is one.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    listed, governed = await known_names(database, kind)
    if subject in listed or subject in governed:
        return None
    what = {"ledger": "tenant", "governor": "pool", "breaker": "downstream"}[kind]
    # A slip of the pen in somebody's job has begun a ledger as well: it is not what is meant.
    return f"there is no {what} {subject!r}: {_say(listed or governed, subject)}"


async def _tell(
    client: Client,
    kind: Kind,
    subject: str,
    command: Command,
    result: type[Answer],
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    options: EntityOptions | None = None,
) -> Answer:
    workflow = governing(client, kind, subject, options, task_queue)
    try:
        return await workflow.update("command", command, command.id, result, _TELL_S)
    except WorkflowUpdateFailedError as error:
        if isinstance(error.cause, ApplicationError):
            if error.cause.type == CHANGED_SINCE:
                raise ConflictError(error.cause.message) from error
            if error.cause.type == NOT_FOUND:
                raise NotFoundError(error.cause.message) from error
        raise ConfigurationError(f"{kind} {subject} refused: {error.cause}") from error
    except RPCError as error:
        raise _unavailable(kind, subject, error) from error


async def _running(client: Client, kind: Kind) -> set[str]:
    """Return who is governed now, for an error; never an error itself."""
    query = f"WorkflowType = '{KINDS[kind].workflow}' AND ExecutionStatus = 'Running'"
    before = len(workflow_id(kind, ""))
    try:
        found = client.list_workflows(query, limit=_MOST_LISTED)
        return {one.id[before:] async for one in found}
    except RPCError:
        return set()


def _say(names: Collection[str], wanted: str) -> str:
    """Name those that were perhaps meant, or some of those that there are."""
    if not names:
        return "there is none yet"
    near = difflib.get_close_matches(wanted, sorted(names), n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    some = sorted(names)[:_NAMED]
    more = len(names) - len(some)
    return f"there are {', '.join(some)}" + (f" and {more} more" if more else "")


def _unavailable(kind: Kind, subject: str, error: RPCError) -> UnavailableError:
    return UnavailableError(f"{kind} {subject} does not answer: {' '.join(str(error).split())}")
