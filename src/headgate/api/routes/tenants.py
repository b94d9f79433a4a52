"""Tenants: their quotas, who holds and who waits, and what operators set."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, TypeAdapter, field_validator

from headgate.api.access import Admin, TenantOperator, TenantViewer, Viewer, deny
from headgate.api.ledger_orders import LedgerActionOrder, ReleaseOrder
from headgate.api.paging import (
    Cursor,
    Fresh,
    Limit,
    Page,
    Search,
    page_of,
    place,
    sorted_after,
    written,
)
from headgate.api.problems import ProblemError, not_found
from headgate.api.reads import fresh, one, tag
from headgate.api.service import service_of
from headgate.api.writes import Done, Reason, Writing, require_accepted
from headgate.gate.clock import now_ms
from headgate.model.configuration import NameOrDefault
from headgate.model.contract import Contract, Name
from headgate.model.errors import NotFoundError
from headgate.model.lease import LeaseView
from headgate.model.ledger import (
    CommandReply,
    LedgerCommand,
    LedgerView,
    PermitView,
    WaiterView,
)
from headgate.model.plan import PlannedChange
from headgate.model.quota import Quota
from headgate.orchestrator.configure import Configurator
from headgate.orchestrator.configured_quota import QuotaOrder, set_quota
from headgate.orchestrator.operate import command_ledger
from headgate.packed import unpack
from headgate.quota import Ledger, LedgerRecord

router = APIRouter(prefix="/v1/tenants", tags=["tenants"])

_RECORD = TypeAdapter(LedgerRecord)


class Holders(BaseModel):
    """Who holds what of a tenant, who waits, and which blocks gates have: a page of each.

    Attributes:
        revision: Of the ledger.
        saved_at_ms: When it last changed and was saved, Unix time.
        age_ms: How long ago that was.
        permits: The oldest first.
        waiters: In the order of their turn.
        leases: By gate.
        permit_count: How many there are in all.
        waiter_count: The same.
        lease_count: The same.
        next_cursor: Of the next page, of all three; null: none of them goes on.
    """

    revision: int
    saved_at_ms: int
    age_ms: int
    permits: list[PermitView]
    waiters: list[WaiterView]
    leases: list[LeaseView]
    permit_count: int
    waiter_count: int
    lease_count: int
    next_cursor: str | None = None


class LedgerOrder(Contract):
    """What to do to a ledger.

    Attributes:
        action: Override a quota for a time, throttle, pause, resume, lift what was set by its id,
            or release a permit.
        reason: Why; it stands in the audit.
        dry_run: Answer what it would be, change nothing.
        allow_below_usage: Do it also if a limit would then be below what is held.
    """

    action: LedgerActionOrder
    reason: Reason
    dry_run: bool = False
    allow_below_usage: bool = False

    def told(self) -> dict[str, Any]:
        """Return what the ledger is told."""
        return {**dict(self), "action": self.action.action()}

    @field_validator("action", mode="before")
    @classmethod
    def _is_not_only_a_word(cls, action: object) -> object:
        """Breakers and pools take a word, so that is what people try."""
        if isinstance(action, str):
            raise ValueError(
                'here the action is an object: {"kind": "pause", "resource": "*"} with the kind '
                "pause, resume, throttle, override, lift or release, and what belongs to it inside"
            )
        return action


class QuotaChange(Contract):
    """Another quota in the configuration.

    Attributes:
        quota: What is to hold from now on; null: the resource is not named any more.
        reason: Why; it stands in the audit.
        dry_run: Answer what it would change, change nothing.
        allow_below_usage: Do it also if a limit would then be below what is held.
    """

    quota: Quota | None
    reason: Reason
    dry_run: bool = False
    allow_below_usage: bool = False


@router.get("")
async def list_tenants(
    request: Request,
    _: Viewer,
    limit: Limit = 50,
    cursor: Cursor = None,
    search: Search = None,
    sort: Annotated[
        Literal["name", "waiting", "held", "usage", "changed"],
        Query(
            description="By name; or by what waits, is held, or is used of what may be held, the "
            "most first; or those that have changed last first."
        ),
    ] = "name",
) -> Page[Fresh[LedgerView]]:
    """List tenants with their limits and what is used of them."""
    after, after_value = sorted_after(cursor, sort)
    saved = await service_of(request).pages.page(
        "ledger",
        limit + 1,
        search=search,
        order=sort,
        after=after,
        after_value=after_value,
    )
    return page_of(
        saved,
        limit,
        lambda row: (sort, row.value, row.subject),
        lambda row: fresh(row, LedgerView),
    )


@router.get("/{tenant:segment}")
async def get_tenant(
    request: Request, response: Response, _: TenantViewer, tenant: Name
) -> Fresh[LedgerView]:
    """Show a tenant: quotas, overrides, throttles, what is held and what waits."""
    saved = await one(service_of(request), "ledger", tenant)
    tag(response, saved.revision)
    return fresh(saved, LedgerView)


@router.get("/{tenant:segment}/holders")
async def get_holders(
    request: Request, _: TenantViewer, tenant: Name, limit: Limit = 200, cursor: Cursor = None
) -> Holders:
    """Show who holds permits of a tenant, who waits for one, and which blocks gates have."""
    service, start = service_of(request), place(cursor)
    saved, state = (
        await one(service, "ledger", tenant),
        await service.pages.state("ledger", tenant),
    )
    if state is None:
        raise not_found(f"there is no tenant {tenant!r}")
    # The very code of the ledger, around what it saved.
    ledger = Ledger(_RECORD.validate_json(unpack(state)))
    page, end = ledger.page(start, limit), start + limit
    counts = ledger.counts()
    return Holders(
        revision=page.ledger.revision,
        saved_at_ms=saved.saved_at_ms,
        age_ms=max(0, now_ms() - saved.saved_at_ms),
        permits=page.permits,
        waiters=page.waiters,
        leases=page.leases,
        permit_count=counts.permits,
        waiter_count=counts.waiters,
        lease_count=counts.leases,
        next_cursor=written(end) if end < max(counts) else None,
    )


@router.post("/{tenant:segment}/commands")
async def command(
    write: Writing, principal: TenantOperator, tenant: Name, body: LedgerOrder
) -> Done[CommandReply]:
    """Override a quota for a time, throttle, pause, resume, lift, or release a permit.

    Whoever is limited to one tenant may only release: what a tenant may take is not its own to say.
    """
    service = write.service
    if principal.tenant is not None and not isinstance(body.action, ReleaseOrder):
        refusal = ProblemError(
            403, "forbidden", f"{principal.name} may release what {tenant} holds, and nothing else"
        )
        await deny(write.request, service, principal, refusal)
    id = await write.begin(principal, body, "ledger", tenant)
    order = write.order(LedgerCommand, id, principal, body)
    try:
        reply = await command_ledger(
            await service.temporal.client(),
            service.database,
            tenant,
            order,
            service.task_queue,
            service.options,
        )
    except NotFoundError as error:
        if principal.tenant is None:
            raise
        # Not the names of others, which the error offers to those who may know them.
        raise not_found(f"there is no tenant {tenant!r}") from error
    require_accepted(reply)
    return write.done(id, body.dry_run, "ledger", tenant, reply, reply.revision)


@router.put("/{tenant:segment}/quotas/{resource:segment}")
async def put_quota(
    write: Writing,
    principal: Admin,
    tenant: NameOrDefault,
    resource: NameOrDefault,
    body: QuotaChange,
) -> Done[list[PlannedChange]]:
    """Change a quota in the configuration, as `headgate apply` would; a file may change it back."""
    service = write.service
    id = await write.begin(principal, body, "ledger", tenant)
    configurator = Configurator(
        await service.temporal.client(), service.database, service.task_queue, service.options
    )
    order = QuotaOrder(
        tenant=tenant,
        resource=resource,
        change=lambda _: body.quota,
        actor=principal.name,
        reason=body.reason,
        request_id=id,
        if_revision=write.if_revision,
        allow_below_usage=body.allow_below_usage,
        dry_run=body.dry_run,
    )
    done = await set_quota(configurator, service.database, order)
    return write.done(id, body.dry_run, "ledger", tenant, done.changes, done.revision)
