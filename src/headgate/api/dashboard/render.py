"""Templates, and what they are filled with on every page."""

import hashlib
import json
import mimetypes
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from headgate.api.dashboard import cells
from headgate.api.dashboard.drawings import bar
from headgate.api.dashboard.labelled import labelled
from headgate.api.principal import Principal, Role
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.model.breaker import MOST_AFFECTED
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import LimitView
from headgate.model.pool import PoolView
from headgate.model.quota import Quota, QuotaChanges
from headgate.orchestrator.times import lasting, utc
from headgate.version import __version__
from headgate.view.changed import differences
from headgate.view.places import page_of_workflow
from headgate.view.standing import quota_source
from headgate.view.words import GLYPHS, effect, what_gives_more, whom

_SECTIONS: Final = {
    "downstream": ("breaker", "downstreams"),
    "tenant": ("ledger", "tenants"),
    "pool": ("governor", "pools"),
}
"""What the parameter of a page's path names, and where all of its kind are."""


class NotLoggedInError(Exception):
    """Somebody opens a page without having said who it is."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages are made up with."""

    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return the packaged files by name: all of them, and nothing that somebody has asked for."""
    folder = resources.files("headgate.api.dashboard") / "static"
    return {
        file.name: Asset(
            file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        )
        for file in folder.iterdir()
        if file.is_file()
    }


@cache
def _address(name: str) -> str:
    """Return the address of a file; it changes with what is in it, so that it may be kept."""
    content = assets()[name].content
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


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
            "admin": principal is not None and principal.role >= Role.ADMIN,
            "may": principal is not None and principal.role >= Role.OPERATOR,
            "path": request.url.path.replace("\x00", "/"),
            "now_ms": now_ms(),
            "temporal": temporal,
            "workflow_link": workflow_link,
        }
    )
    return HTMLResponse(labelled(text), status)


def error_page(request: Request, status: int, title: str, detail: str) -> Response:
    """Return an error as a page; that of something that is not there waits for it to come."""
    principal = getattr(request.state, "principal", None)
    name = next((name for name in _SECTIONS if name in request.path_params), None)
    missing, section = None, ""
    if status == 404 and name is not None and principal is not None and principal.tenant is None:
        kind, section = _SECTIONS[name]
        missing = f"{kind}/{request.path_params[name]}"
    return render(
        request,
        principal,
        "error.html",
        status,
        title=title,
        detail=detail,
        missing=missing,
        all=f"/{section}",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.3g}%"


def _rate(share: float | None, name: str, opens: float | None) -> Markup:
    """Draw a rate beside that at which a breaker opens, and say both in numbers."""
    if opens is None:
        return Markup('<span class="dim">not judged</span>')
    if share is None:
        return Markup('<span class="dim">no calls</span>')
    now, limit = _percent(share), _percent(opens)
    drawn = bar([("failed", share or 0)], 1, [opens], f"{name} {now}, opens at {limit}")
    return Markup(  # noqa: S704 - of numbers only
        f'{drawn}<span class="num">{now}</span> <span class="dim">of {limit}</span>'
    )


def _unbroken(text: str) -> Markup:
    """Show a sentence; the options of a command in it are not torn from their hyphens."""
    return Markup(  # noqa: S704 - escaped here
        re.sub(r"--[a-z-]+", r'<span class="whole">\g<0></span>', str(escape(text)))
    )


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


def _order(value: dict[str, Any]) -> str:
    """Write an action down for its button. Its command is made of words, which are quoted here.

    People paste it into a shell, and jobs name permits and requests as they like.
    """
    return json.dumps({**value, "cli": shlex.join(value["cli"])}, separators=(",", ":"))


def _fields(quota: Quota | None, is_configured: bool) -> dict[str, str | None]:
    """Return the fields of a quota as they are: those that may be configured, or overridden."""
    of = quota or Quota()
    names = [name for name in Quota.model_fields if name != "reservations"]
    if not is_configured:
        names = [name for name in names if name in QuotaChanges.model_fields]
    return {name: _written(getattr(of, name)) for name in names}


def _written(value: Any) -> str | None:
    """Return a value as people write it into a field; None: there is none."""
    if value is None:
        return None
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)


def _plain(quota: Quota) -> dict[str, Any]:
    """Return a quota as it is written down, without what is not said."""
    return quota.model_dump(mode="json", exclude_defaults=True)


def _is_pool_short(limits: LimitView) -> bool:
    """Return whether it is the pool that limits a tenant, and not its own limit."""
    allocated, most = limits.allocated, limits.max_active
    return allocated is not None and (most is None or allocated < most)


def _limited(limits: LimitView | None, guaranteeing: Collection[str]) -> str:
    """Say what limits a tenant, after what it holds; and what to raise where its pool does.

    Args:
        limits: Of a resource.
        guaranteeing: The pools that look at guarantees.
    """
    if limits is None:
        return "."
    words = "" if limits.max_active is None else f", max_active is {limits.max_active}"
    if limits.guaranteed:
        words += f", guaranteed is {limits.guaranteed}"
    if limits.allocated is not None:
        words += f", and pool {limits.pool} gives {limits.allocated}"
    if not _is_pool_short(limits):
        return f"{words}."
    more = what_gives_more(str(limits.pool), guaranteeing=limits.pool in guaranteeing)
    return f"{words}. {more[0].upper()}{more[1:]}."


def _more(limits: LimitView | None, guaranteeing: Collection[str]) -> dict[str, int]:
    """Return what would give a tenant more: twice of what limits it, by field of the quota.

    Where a pool limits it, that is what is guaranteed, if the pool looks at that; which not be
    above ``max_active``. Where nothing in a quota would give it more, nothing is returned.
    """
    if limits is None:
        return {}
    if _is_pool_short(limits):
        if limits.pool not in guaranteeing:
            return {}
        twice = 2 * max(limits.guaranteed, limits.allocated or 0) or 1
        wanted = twice if limits.max_active is None else min(twice, limits.max_active)
        return {"guaranteed": wanted} if wanted > limits.guaranteed else {}
    if limits.max_active is not None:
        return {"max_active": 2 * limits.max_active}
    return {"guaranteed": 2 * limits.guaranteed} if limits.guaranteed else {}


def _options(parts: Mapping[str, str]) -> list[str]:
    """Return options of a command, as words."""
    return [word for name, value in parts.items() for word in (f"--{name}", value)]


def _together(view: PoolView, field: str, resource: str) -> int:
    """Return what all members of a pool hold, or want, of a resource."""
    return sum(getattr(member, field).get(resource, 0) for member in view.members.values())


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
    most_affected=MOST_AFFECTED,
    bar=bar,
    together=_together,
    page_of_workflow=page_of_workflow,
    differences=differences,
    utc=utc,
)
_ENVIRONMENT.filters.update(
    time=cells.time,
    percent=_percent,
    rate=_rate,
    number=_number,
    units=cells.units,
    usage=cells.usage,
    tenant_rows=cells.tenant_rows,
    seg=cells.segment,
    order=_order,
    options=_options,
    fields=_fields,
    limited=_limited,
    more=_more,
    plain=_plain,
    quota_source=quota_source,
    unbroken=_unbroken,
    lasting=lasting,
    utc=utc,
    whom=whom,
    effect=effect,
    written=_written,
)
