"""Pages about Headgate itself: where alerts go, and who may come in."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from headgate.api.dashboard.pages import OwnViewer, PageAccess
from headgate.api.dashboard.render import render
from headgate.api.paging import Cursor, part_of
from headgate.api.principal import Principal, Role
from headgate.api.routes.channels import channels_of
from headgate.api.routes.keys import all_keys
from headgate.api.service import service_of

router = APIRouter(include_in_schema=False)

_PAGE: Final = 50

Admin = Annotated[Principal, Depends(PageAccess(Role.ADMIN))]


@router.get("/channels")
async def channels(request: Request, principal: OwnViewer, cursor: Cursor = None) -> Response:
    """Show where alerts go, and which channels take them."""
    mark = await service_of(request).pages.now()
    page = part_of(await channels_of(request, principal), _PAGE, cursor)
    return render(
        request,
        principal,
        "channels.html",
        mark=mark,
        channels=page.items,
        next=_next(page.next_cursor),
    )


@router.get("/keys")
async def keys(request: Request, principal: Admin, cursor: Cursor = None) -> Response:
    """Show the keys of the API, without their secrets."""
    service = service_of(request)
    mark = await service.pages.now()
    page = part_of(await all_keys(service), _PAGE, cursor)
    return render(
        request, principal, "keys.html", mark=mark, keys=page.items, next=_next(page.next_cursor)
    )


def _next(cursor: str | None) -> str | None:
    return None if cursor is None else "?" + urlencode({"cursor": cursor})
