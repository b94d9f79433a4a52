"""Alerts: what people were told of, where it went, and sending one again."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from headgate.api.access import Operator, OwnViewer, deny
from headgate.api.paging import Cursor, Limit, Page, page_of, read
from headgate.api.principal import Principal
from headgate.api.problems import not_found
from headgate.api.service import Service, service_of
from headgate.api.writes import Adding, ByHand, Done
from headgate.model.alert import Severity
from headgate.model.contract import Name
from headgate.model.notifier import KindPattern, tenant_of
from headgate.notifier.again import send_again
from headgate.store.alerts import Attempt, DeliveryState, Told

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])

Id = Annotated[str, Path(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
_Kind = Annotated[
    KindPattern | None, Query(description="Such as `breaker.opened`, or `quota.*` for all of it.")
]
_Text = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$",
        description="Only those with this in their subject or title, or that a message of this id "
        "tells of, such as of a group.",
    ),
]


class AlertShown(Told):
    """An alert, where it went, and every attempt to deliver it, the oldest first.

    Whoever is limited to one tenant sees what went to its own channels.
    """

    attempts: list[Attempt]


class Resend(ByHand):
    """Why an alert is sent once more, under the id that it has.

    Attributes:
        channel: Where to; null: to all that it went to.
    """

    channel: Name | None = None


class Resent(BaseModel):
    """Where an alert goes once more; ``message``: that in words."""

    channels: list[str]
    message: str


@router.get("")
async def list_alerts(
    request: Request,
    principal: OwnViewer,
    limit: Limit = 50,
    cursor: Cursor = None,
    open: Annotated[
        bool | None,
        Query(description="Only what is still so; false: only what is over, or cannot be over."),
    ] = None,
    kind: _Kind = None,
    severity: Severity | None = None,
    tenant: Name | None = None,
    state: Annotated[
        DeliveryState | None, Query(description="Only those that have come so far with a channel.")
    ] = None,
    channel: Name | None = None,
    search: _Text = None,
) -> Page[Told]:
    """List alerts with where they went, the latest first."""
    before = read(cursor, int)
    service = service_of(request)
    if principal.tenant is not None and tenant not in (None, principal.tenant):
        await deny(request, service, principal, not_found(f"there is no tenant {tenant!r}"))
    found = await service.alerts.recent(
        limit + 1,
        kind=kind,
        severity=severity,
        tenant=principal.tenant or tenant,
        state=state,
        channel=channel,
        search=search,
        is_open=open,
        before=None if before is None else int(before[0]),
        among=await own_channels(service, principal),
    )
    return page_of(found, limit, lambda told: (told.seq,), lambda told: told)


@router.get("/{id:segment}")
async def get_alert(request: Request, principal: OwnViewer, id: Id) -> AlertShown:
    """Show an alert, where it went, and every attempt to deliver it."""
    return await find_alert(request, principal, id)


@router.post("/{id:segment}/resend")
async def resend(write: Adding, principal: Operator, id: Id, body: Resend) -> Done[Resent]:
    """Send an alert once more, under the id that it has; who has it already may drop it."""
    order = await write.by_hand(principal, body, f"alert/{id}")
    if await write.service.alerts.one(id) is None:
        raise not_found(f"there is no alert {id!r}")
    channels = await send_again(write.service.database, id, body.channel, order)
    message = f"send it once more to {', '.join(channels)}"
    told = Resent(channels=channels, message=message)
    return write.done(order.request_id, order.dry_run, None, "", told)


async def find_alert(request: Request, principal: Principal, id: str) -> AlertShown:
    """Return an alert, as far as it is the caller's to know.

    Raises:
        ProblemError: There is none; or none of the caller's tenant.
    """
    service, absent = service_of(request), not_found(f"there is no alert {id!r}")
    among = await own_channels(service, principal)
    told = await service.alerts.one(id, among)
    if told is None:
        raise absent
    if principal.tenant not in (None, tenant_of(told.alert)):
        await deny(request, service, principal, absent)
    attempts = await service.alerts.attempts(id, among)
    return AlertShown(**dict(told), attempts=attempts)


async def own_channels(service: Service, principal: Principal) -> Sequence[str] | None:
    """Return the channels that a caller may know of; None: all.

    The addresses and troubles of the others are not a tenant's affair.
    """
    if principal.tenant is None:
        return None
    channels = (await service.configuration.load()).notifier.channels
    return [name for name, channel in channels.items() if channel.tenant == principal.tenant]
