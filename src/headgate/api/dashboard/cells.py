"""What stands in the cells of tables: times, units, and what a tenant has of a resource.

Written as plain text, of numbers and of names that are escaped: the tables of tenants are pages of
hundreds of rows, and a template looks at each value of each cell.
"""

from typing import Final
from urllib.parse import quote

from markupsafe import Markup, escape

from headgate.api.dashboard.drawings import bar
from headgate.gate.clock import now_ms
from headgate.orchestrator.times import lasting, utc
from headgate.view.standing import ResourceStanding, TenantStanding

_NOW_MS: Final = 1_000
_NOTHING: Final = Markup("-")


def time(ms: int | None) -> Markup:
    """Show how long ago something was, with the exact time on hover."""
    return Markup(_time(ms, now_ms())) if ms else _NOTHING  # noqa: S704 - of numbers only


def _time(ms: int, now: int) -> str:
    ago = now - ms
    words = f"{lasting(ago)} ago" if ago >= 0 else f"in {lasting(-ago)}"
    if abs(ago) < _NOW_MS:
        words = "just now"
    return f'<time data-ms="{ms}" title="{utc(ms)}">{words}</time>'


def units(units: int | None) -> str:
    """Show how many, where there may be no limit."""
    return "∞" if units is None else f"{units:,}"


def segment(name: str) -> str:
    """Write a name as a part of a path."""
    return quote(name, safe="")


def usage(one: ResourceStanding) -> Markup:
    """Draw what a tenant has of a resource, and say it in numbers: cells of a row, to "Waiting"."""
    return Markup(_usage(one))  # noqa: S704 - of numbers only


def tenant_rows(one: TenantStanding) -> Markup:
    """Show a tenant, in one row for each of its resources."""
    rows, now = [], now_ms()
    name = escape(one.tenant)
    link = f'href="/tenants/{segment(one.tenant)}">{name}</a>'
    tenant = f"<a {link}"
    if not one.resources:
        rows.append(
            f'<tr><td class="name">{tenant}</td><td colspan="11" class="dim">no quota</td></tr>'
        )
    for resource in one.resources:
        window, said = resource.window, ""
        if one.paused or resource.paused:
            said = '<span class="bad">⊘ paused</span>'
        elif resource.is_changed:
            said = '<span class="warn">▲ by people</span>'
        rows.append(
            f'<tr><td class="name">{tenant}</td><td>{escape(resource.resource)}</td>'
            f"{_usage(resource)}"
            f"<td>{_time(window.resets_at_ms, now) if window else ''}</td>"
            f'<td class="few-words">{said}</td></tr>'
        )
        # Said once, above its other resources; again where each row is a block of its own.
        tenant = f'<a class="again" {link}'
    return Markup("\n".join(rows))  # noqa: S704 - names are escaped, the rest is written here


def _usage(one: ResourceStanding) -> str:
    """Draw a bar of what is used, what lies in blocks of gates and what is over the limit.

    Underlined where it is borrowed, with a tick where the guarantee ends.
    """
    held = one.used + one.leased
    room, borrowed, guaranteed = one.room, one.borrowed, one.guaranteed
    inside = held if room is None else min(held, room)
    used = min(one.used, inside)
    label = f"{one.used} used"
    if one.leased:
        label += f" and {one.leased} leased"
    label += f" of {'no limit' if room is None else room}"
    if borrowed:
        label += f", {borrowed} borrowed"
    if guaranteed:
        label += f", {guaranteed} guaranteed"
    drawn = bar(
        [
            ("full" if room and held >= room else "used", used),
            ("leased", inside - used),
            ("over", held - inside),
        ],
        # Without a limit there is no whole that a part could be of.
        room or max(held, 1) * 4,
        [guaranteed] if guaranteed else [],
        label,
        (held - borrowed, borrowed),
    )
    return (
        f'<td class="wide">{drawn}</td><td class="r num">{one.used:,}</td>'
        f'<td class="r num">{one.leased:,}</td><td class="r num">{borrowed:,}</td>'
        f'<td class="r num">{units(one.free)}</td><td class="r num">{units(room)}</td>'
        f'<td class="r num">{f"{guaranteed:,}" if guaranteed else ""}</td>'
        f'<td class="r num">{one.waiting:,}</td>'
    )
