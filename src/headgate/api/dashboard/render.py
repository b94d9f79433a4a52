"""Templates, and what they are filled with on every page."""

import hashlib
import json
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from headgate.api.dashboard.drawings import bar
from headgate.api.principal import Principal, Role
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView
from headgate.orchestrator.times import lasting, utc
from headgate.version import __version__
from headgate.view.words import GLYPHS


class NotLoggedInError(Exception):
    """Somebody opens a page without having said who it is."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages are made up with."""

    content: bytes
    media_type: str


@cache
def asset(name: str) -> Asset | None:
    """Return a packaged file."""
    folder = resources.files("headgate.api.dashboard") / "static"
    if name not in {file.name for file in folder.iterdir()}:
        return None
    return Asset(
        (folder / name).read_bytes(), mimetypes.guess_type(name)[0] or "application/octet-stream"
    )


@cache
def _address(name: str) -> str:
    """Return the address of a file; it changes with what is in it, so that it may be kept."""
    found = asset(name)
    assert found is not None, name
    return f"/static/{name}?v={hashlib.sha256(found.content).hexdigest()[:12]}"


def render(
    request: Request, principal: Principal | None, template: str, status: int = 200, **values: Any
) -> Response:
    """Return a page."""
    service = service_of(request)

    def temporal(kind: Kind, subject: str) -> str | None:
        """The workflow in Temporal's UI; without a run, which changes."""
        return workflow_link(workflow_id(kind, subject))

    def workflow_link(id: str) -> str | None:
        ui = service.settings.temporal_ui
        if ui is None:
            return None
        namespace = quote(service.settings.namespace, safe="")
        return f"{ui.rstrip('/')}/namespaces/{namespace}/workflows/{quote(id, safe='')}"

    text = _ENVIRONMENT.get_template(template).render(
        {
            "mark": None,
            **values,
            "principal": principal,
            "may": principal is not None and principal.role >= Role.OPERATOR,
            "path": request.url.path.replace("\x00", "/"),
            "now_ms": now_ms(),
            "temporal": temporal,
            "workflow_link": workflow_link,
        }
    )
    return HTMLResponse(text, status)


def error_page(request: Request, status: int, title: str, detail: str) -> Response:
    """Return an error as a page."""
    principal = getattr(request.state, "principal", None)
    return render(request, principal, "error.html", status, title=title, detail=detail)


def _time(ms: int | None) -> Markup:
    """Show how long ago something was, with the exact time on hover."""
    if not ms:
        return Markup("-")
    ago = now_ms() - ms
    words = f"{lasting(ago)} ago" if ago >= 0 else f"in {lasting(-ago)}"
    return Markup('<time data-ms="{}" title="{}">{}</time>').format(ms, utc(ms), words)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.3g}%"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


def _segment(name: str) -> str:
    return quote(name, safe="")


def _order(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _usage(view: LedgerView, resource: str) -> Markup:
    """Draw what a tenant uses: its own, what it borrows, what it may hold yet."""
    limits = view.limits.get(resource)
    held, room = view.units_held.get(resource, 0), _room(view, resource)
    guaranteed = 0 if limits is None else limits.guaranteed
    shared = limits is not None and limits.pool is not None
    over = 0 if room is None else max(0, held - room)
    borrowed = max(0, held - over - guaranteed) if shared else 0
    name = "full" if room is not None and held >= room > 0 else "used"
    parts = [
        (name, float(held - over - borrowed)),
        ("borrowed", float(borrowed)),
        ("over", float(over)),
    ]
    label = f"{held} of {'no limit' if room is None else room} used"
    if borrowed:
        label += f", {borrowed} borrowed"
    if guaranteed:
        label += f", {guaranteed} guaranteed"
    # Without a limit there is no whole that a part could be of.
    whole = float(room) if room else max(held, 1) * 4.0
    return bar(parts, whole, [float(guaranteed)] if guaranteed else [], label)


def _together(view: PoolView, field: str, resource: str) -> int:
    """Return what all members of a pool hold, or want, of a resource."""
    return sum(getattr(member, field).get(resource, 0) for member in view.members.values())


def _room(view: LedgerView, resource: str) -> int | None:
    limits = view.limits.get(resource)
    if limits is None:
        return None
    rooms = [room for room in (limits.max_active, limits.allocated) if room is not None]
    return min(rooms) if rooms else None


def _limit(view: LedgerView, resource: str) -> str:
    room = _room(view, resource)
    return "∞" if room is None else f"{room:,}"


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("headgate.api.dashboard", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals.update(
    asset=_address,
    glyphs=GLYPHS,
    version=__version__,
    bar=bar,
    usage=_usage,
    limit=_limit,
    together=_together,
)
_ENVIRONMENT.filters.update(
    time=_time,
    percent=_percent,
    number=_number,
    seg=_segment,
    order=_order,
    lasting=lasting,
    utc=utc,
)
