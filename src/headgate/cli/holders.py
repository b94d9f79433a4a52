"""``headgate holders`` and ``headgate release``: who holds what, and taking it back."""

import asyncio

import typer

from headgate.cli import options
from headgate.cli.connect import connect_temporal
from headgate.cli.options import ledger_command, operating, perhaps_database
from headgate.cli.quota import print_reply
from headgate.cli.tables import print_json, show, table
from headgate.gate.clock import now_ms
from headgate.model.lease import LeaseView
from headgate.model.ledger import LedgerPage, PermitView, ReleasePermit, WaiterView
from headgate.orchestrator.holders import Answered, holders, release_permit
from headgate.orchestrator.times import lasting

_MOST_SHOWN = 500


def command(
    tenant: str = typer.Argument(help="The tenant."),
    resource: str | None = typer.Option(None, "--resource", help="Of this only."),
    as_json: bool = options.JSON,
) -> None:
    """Show who holds the permits of a tenant, and who waits for one, as it is now."""
    page = asyncio.run(_holders(tenant))
    permits = [one for one in page.permits if _is_of(one, resource)]
    waiters = [one for one in page.waiters if _is_of(one, resource)]
    leases = [one for one in page.leases if resource in (None, one.resource)]
    if as_json:
        print_json({"tenant": tenant, "permits": permits, "waiters": waiters, "leases": leases})
        return
    if not permits and not waiters and not leases:
        of = "" if resource is None else f" of {resource}"
        print(f"nobody holds anything{of} of tenant {tenant}, and nobody waits")
        return
    if permits:
        _show_permits(permits)
    if waiters:
        _show_waiters(waiters)
    if leases:
        _show_leases(leases)
    if max(len(page.permits), len(page.waiters)) >= _MOST_SHOWN:
        print(f"only the first {_MOST_SHOWN} are shown")


def release(
    permit: str = typer.Argument(help="The id of the permit, or of a request in line."),
    tenant: str | None = typer.Option(None, "--tenant", help="Whose; else it is searched for."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Take a permit from its holder, which is not told; or a request out of its line."""
    action = options.written(ReleasePermit, permit=permit)
    by = options.asked(reason, actor, dry_run, request_id)
    command = ledger_command(action, by)

    async def run() -> Answered:
        async with operating() as (client, db):
            target = f"permit/{permit}" if tenant is None else tenant
            await by.note(db, target, None if tenant is None else "ledger")
            return await release_permit(client, db, command, tenant)

    found = asyncio.run(run())
    if as_json and found.reply.accepted:
        print_json(found)
    else:
        print_reply(found.reply, as_json, about=f"{found.tenant}: ")


async def _holders(tenant: str) -> LedgerPage:
    async with perhaps_database() as db:
        return await holders(await connect_temporal(), tenant, db)


def _is_of(one: PermitView | WaiterView, resource: str | None) -> bool:
    return resource is None or one.resource == resource or resource in one.also


def _show_permits(permits: list[PermitView]) -> None:
    rows = table("Permit", "Holds", "Workflow", "Since", "Ends in", whole=("Permit", "Workflow"))
    for one in permits:
        rows.add_row(
            one.id,
            _needs(one),
            one.workflow_id,
            lasting(now_ms() - one.granted_at_ms),
            lasting(one.expires_at_ms - now_ms()),
        )
    show(rows)


def _show_waiters(waiters: list[WaiterView]) -> None:
    ids = ("Request in line", "Workflow")
    rows = table(
        *("Request in line", "Waits for", "Workflow", "Since", "Place"), right=("Place",), whole=ids
    )
    for one in waiters:
        rows.add_row(
            one.id,
            _needs(one),
            one.workflow_id,
            lasting(now_ms() - one.since_ms),
            str(one.position),
        )
    show(rows)


def _show_leases(leases: list[LeaseView]) -> None:
    rows = table(
        "Block of gate", "Of", "Counts", "In use", "Waiting", "Ends in",
        right=("Counts", "In use", "Waiting"), whole=("Block of gate",),
    )  # fmt: skip
    for one in leases:
        rows.add_row(
            one.gate,
            one.resource,
            str(one.counted),
            str(one.in_use),
            str(one.waiting),
            lasting(one.until_ms - now_ms()),
        )
    show(rows)


def _needs(one: PermitView | WaiterView) -> str:
    needs = {one.resource: one.units, **one.also}
    return ", ".join(f"{units} {resource}" for resource, units in needs.items())
