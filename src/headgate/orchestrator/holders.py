"""Who holds the permits of a tenant, and taking one back."""

from contextlib import suppress

from temporalio.client import Client

from headgate.model.contract import Message
from headgate.model.entity import EntityOptions
from headgate.model.errors import NotFoundError, UnavailableError
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.model.ledger import CommandReply, LedgerCommand, LedgerPage, ReleasePermit
from headgate.orchestrator.ask import ask
from headgate.orchestrator.operate import command_ledger, is_running, require_named
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore


class Answered(Message):
    """Whose ledger it was that had an id, and what it says."""

    tenant: str
    reply: CommandReply


async def holders(client: Client, tenant: str, database: Database | None = None) -> LedgerPage:
    """Return the permits and waiters of a tenant, as its ledger has them now.

    Args:
        client: Of the namespace.
        tenant: Whose.
        database: Which knows whether there is such a tenant at all; None, or one that does not
            answer: that is not said.

    Raises:
        NotFoundError: There is no such tenant, or no ledger runs for it.
        UnavailableError: It does not answer.
    """
    if not await is_running(client, "ledger", tenant):
        if database is not None:
            with suppress(UnavailableError):
                await require_named(database, "ledger", tenant)
        raise NotFoundError(
            f"no ledger runs for {tenant!r}: nobody has asked for a permit, or it was terminated; "
            "headgate quota show has what it last held"
        )
    return await ask(client, "ledger", tenant, "holders", LedgerPage)


async def release_permit(
    client: Client,
    database: Database,
    command: LedgerCommand,
    tenant: str | None = None,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    options: EntityOptions | None = None,
) -> Answered:
    """Take a permit from its holder, or a request out of its line.

    Args:
        client: Of the namespace.
        database: Migrated.
        command: With the action ``release``.
        tenant: Whose it is; None: the saved ledgers are searched for it.
        task_queue: Of the governance workers.
        options: How workflows that are started here keep house.

    Raises:
        NotFoundError: Nobody holds it or waits for it, as far as Postgres knows.
        UnavailableError: Temporal, the governance workers or Postgres do not answer.
    """
    assert isinstance(command.action, ReleasePermit)
    permit = command.action.permit
    if tenant is not None:
        reply = await command_ledger(client, database, tenant, command, task_queue, options)
        return Answered(tenant=tenant, reply=reply)
    return await command_whoever_has(client, database, permit, command, task_queue, options)


async def command_whoever_has(
    client: Client,
    database: Database,
    id: str,
    command: LedgerCommand,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    options: EntityOptions | None = None,
) -> Answered:
    """Tell something to the one ledger in whose saved state an id stands.

    Raises:
        NotFoundError: No ledger has it, as far as Postgres knows.
        UnavailableError: Temporal, the governance workers or Postgres do not answer.
    """
    # A saved ledger also remembers what has ended, so each has to be asked.
    for tenant in await SnapshotStore(database).tenants_naming(id):
        reply = await command_ledger(client, database, tenant, command, task_queue, options)
        if reply.refused != "not_found":
            return Answered(tenant=tenant, reply=reply)
    raise NotFoundError(
        f"no saved ledger has {id!r}: it may be over already, or be only seconds old and not saved "
        "yet"
    )
