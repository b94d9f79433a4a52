"""What people who override a quota should know: that it does nothing as things are."""

from typing import Final

from temporalio.client import Client

from headgate.model.configuration import Configuration
from headgate.model.errors import HeadgateError
from headgate.model.ids import DEFAULT
from headgate.model.ledger import CommandReply, LedgerCommand, LedgerView, SetOverride
from headgate.orchestrator.ask import ask
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database

_UNLIMITED: Final = 10**9


async def with_hints(
    client: Client, database: Database, tenant: str, command: LedgerCommand, reply: CommandReply
) -> CommandReply:
    """Return the answer to an override with what there is to know of it in its message.

    What cannot be found out is left out: the override has been done already.
    """
    action = command.action
    if not reply.accepted or not isinstance(action, SetOverride):
        return reply
    hints = []
    try:
        view = await ask(client, "ledger", tenant, "state", LedgerView)
        hints += _of_pool(view, action, reply)
        if _is_new(view, action.resource):
            applied = await ConfigurationStore(database).load()
            hints += _of_name(applied, tenant, action.resource)
    except HeadgateError:
        pass
    return reply.model_copy(update={"message": "; ".join([reply.message, *hints])})


def _of_pool(view: LedgerView, action: SetOverride, reply: CommandReply) -> list[str]:
    """More than a pool gives is not had for a higher limit."""
    limits = view.limits.get(action.resource)
    wanted = action.changes.values.get("max_active", 0)
    if limits is None or limits.pool is None or limits.allocated is None:
        return []
    before = reply.before.get("max_active", 0)
    old, new = (_UNLIMITED if one is None else one for one in (before, wanted))
    if new <= old or limits.allocated >= old:
        return []
    return [
        f"pool {limits.pool} gives {limits.allocated} of it now: raise the guarantee or the pool's "
        "capacity"
    ]


def _is_new(view: LedgerView, resource: str) -> bool:
    known = {*view.accounts, *view.waiting, *view.pools, *(view.quotas or {})}
    return resource not in known


def _of_name(applied: Configuration, tenant: str, resource: str) -> list[str]:
    """A name that stands nowhere may be a slip of the pen, which a quota of ``*`` covers."""
    quotas = [resource in one.quotas for one in applied.tenants.values()]
    pools = [resource in one.capacities for one in applied.pools.values()]
    if any(quotas) or any(pools):
        return []
    return [
        f"{tenant} has never used {resource}, and no quota and no pool names it; it falls under "
        f"'{DEFAULT}'"
    ]
