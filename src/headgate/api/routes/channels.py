"""Channels: where alerts go, whether they take them, trying one and using it again."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from headgate.api.access import Operator, OwnViewer
from headgate.api.paging import Cursor, Limit, Page, part_of
from headgate.api.principal import Principal
from headgate.api.routes.alerts import own_channels
from headgate.api.service import service_of
from headgate.api.writes import Adding, ByHand, Done
from headgate.model.contract import Name
from headgate.notifier.by_hand import enable_again, send_test
from headgate.store.channel_views import ChannelView, channel_views

router = APIRouter(prefix="/v1/channels", tags=["alerts"])

_Channel = Annotated[Name, Path(description="As `headgate.yaml` names it.")]


class Tested(BaseModel):
    """A test alert that was sent, or would be.

    Attributes:
        alert: Its id; `GET /v1/alerts/{id}` has every attempt to deliver it.
        message: What is done, in words.
    """

    alert: str
    message: str


class Enabled(BaseModel):
    """A channel that is used again.

    Attributes:
        was_used: Something was sent there before; else there was nothing to do.
        message: What is done, in words.
    """

    was_used: bool
    message: str


@router.get("")
async def list_channels(
    request: Request, principal: OwnViewer, limit: Limit = 200, cursor: Cursor = None
) -> Page[ChannelView]:
    """List the channels: which take alerts, and how many wait for them.

    Whoever is limited to one tenant sees its own channels.
    """
    return part_of(await channels_of(request, principal), limit, cursor)


@router.post("/{channel:segment}/test")
async def test(write: Adding, principal: Operator, channel: _Channel, body: ByHand) -> Done[Tested]:
    """Send a test alert the way all others go, with what waits for the channel."""
    order = await write.by_hand(principal, body, f"channel/{channel}")
    alert = await send_test(write.service.database, channel, order)
    told = Tested(alert=alert, message=f"send a test alert to {channel}, and what waits for it")
    return write.done(order.request_id, order.dry_run, None, "", told)


@router.post("/{channel:segment}/enable")
async def enable(
    write: Adding, principal: Operator, channel: _Channel, body: ByHand
) -> Done[Enabled]:
    """Try a channel again at once, also one that was disabled because its endpoint was gone."""
    order = await write.by_hand(principal, body, f"channel/{channel}")
    known = await enable_again(write.service.database, channel, order)
    message = f"try {channel} again at once, with what waits for it"
    if not known:
        message = f"change nothing: {channel} was not disabled, nothing was sent there yet"
    return write.done(
        order.request_id, order.dry_run, None, "", Enabled(was_used=known, message=message)
    )


async def channels_of(request: Request, principal: Principal) -> list[ChannelView]:
    """Return how the channels are that a caller may know of."""
    service = service_of(request)
    channels = (await service.configuration.load()).notifier.channels
    among = await own_channels(service, principal)
    shown = {name: one for name, one in channels.items() if among is None or name in among}
    return await channel_views(service.database, shown)
