"""What the alerts of a ledger say: what happened, with numbers, and what can be done."""

from typing import Final, NamedTuple

from headgate.alerts.desk import News
from headgate.alerts.episode import Episode, Turn
from headgate.alerts.words import clock, many, span
from headgate.model.quota import QuotaOverride, Throttle
from headgate.quota.bound import REASON, Bound, plain
from headgate.quota.record import Permit, Waiter, WindowKind

_WINDOW: Final[dict[WindowKind, str]] = {
    "per_hour": "hour",
    "per_day": "day",
    "per_month": "month",
}

_PERMITS: Final = "*permits"
_OTHERS: Final = "*others"
"""In the tally of what was left behind; no resource has such a name."""

_MOST_NAMED: Final = 5
"""So many jobs that left permits behind are named."""

Data = dict[str, str | int | float | None]
"""The numbers of an alert."""


class WindowUse(NamedTuple):
    """How much of a calendar window is used.

    Attributes:
        tenant: Whose.
        resource: Of what.
        kind: How long the window is.
        used: In it; 0 when there is none.
        limit: In it at most; None: no limit any more.
        ends_at_ms: When it ends; 0 when there is none.
        now_ms: Unix time.
        time_zone: Whose clock people read.
    """

    tenant: str
    resource: str
    kind: WindowKind
    used: int
    limit: int | None
    ends_at_ms: int
    now_ms: int
    time_zone: str

    @property
    def name(self) -> str:
        """Return what people call it."""
        return _WINDOW[self.kind]

    @property
    def a(self) -> str:
        """Return its name with the article."""
        return f"{'an' if self.kind == 'per_hour' else 'a'} {self.name}"

    def at(self, at_ms: int) -> str:
        """Return a time by its clock."""
        return clock(at_ms, self.now_ms, self.time_zone)

    def data(self, **more: int | None) -> Data:
        """Return its numbers, and others."""
        return {
            "tenant": self.tenant,
            "resource": self.resource,
            "window": self.kind,
            "used": self.used,
            "limit": self.limit,
            "ends_at_ms": self.ends_at_ms,
            **more,
        }


def usage_news(turn: Turn, level: int, used: int, bound: Bound) -> News:
    """Say how much of ``max_active`` is held."""
    tenant, resource, limit = bound.tenant, bound.resource, bound.limit
    data: Data = {
        "tenant": tenant,
        "resource": resource,
        "level": level,
        "used": used,
        "limit": limit,
    }
    kind = "quota.threshold"
    if turn == "over":
        has = f"{used} {resource} are held; max_active is no longer limited."
        text = has if limit is None else f"{used} of {limit} {resource} are held."
        return News(kind, "info", f"{tenant}: enough {resource} again", text, data=data)
    return News(
        kind,
        "critical" if level >= 100 else "warning",
        f"{tenant}: {level} % of {resource} in use",
        f"{used} of {limit} {resource} are held; "
        + ("further jobs wait or are refused." if level >= 100 else "at 100 % jobs wait.")
        + bound.set_by,
        f"See who holds them: {_holders(tenant, resource)}. {bound.more(used)}",
        data,
    )


def window_news(turn: Turn, level: int, window: WindowUse, bound: Bound, opens_ms: int) -> News:
    """Say how much of a calendar window is used.

    Args:
        turn: Of the episode.
        level: That is reached, in percent.
        window: How much of it is used.
        bound: Its limit.
        opens_ms: Before when nothing is granted, if it is used up.
    """
    tenant, resource, name = window.tenant, window.resource, window.name
    used, limit, data = window.used, window.limit, window.data(level=level)
    if turn == "over":
        title = f"{tenant}: {resource} can be had again"
        if limit is None:
            text = f"There is no limit {window.a} any more."
        else:
            text = f"{used} of {limit} {resource} of this {name} are used."
        return News("quota.threshold", "info", title, text, data=data)
    ends = f"the {name} ends at {window.at(window.ends_at_ms)}."
    return News(
        "quota.threshold",
        "critical" if level >= 100 else "warning",
        f"{tenant}: {level} % of this {name}'s {resource} used",
        f"{used} of {limit} {resource} {window.a} are used; "
        + (f"nothing is granted before {window.at(opens_ms)}." if level >= 100 else ends)
        + bound.set_by,
        bound.more(used),
        data,
    )


def forecast_news(turn: Turn, used_up_ms: int | None, window: WindowUse, bound: Bound) -> News:
    """Say when a calendar window will be used up."""
    tenant, resource, name = window.tenant, window.resource, window.name
    used, limit, data = window.used, window.limit, window.data(used_up_at_ms=used_up_ms)
    if turn == "over" or used_up_ms is None:
        is_full = limit is not None and used >= limit
        what = "has been used up" if is_full else "lasts, as it looks now"
        title = f"{tenant}: {resource} of this {name} {what}"
        text = "There is no limit any more." if limit is None else f"{used} of {limit} are used."
        return News("quota.forecast", "info", title, text, data=data)
    at, ends = window.at(used_up_ms), window.at(window.ends_at_ms)
    return News(
        "quota.forecast",
        "warning",
        f"{tenant}: {resource} of this {name} used up at about {at}",
        f"{used} of {limit} {resource} {window.a} are used. At the present rate they are used up "
        f"at about {at}, {span(window.ends_at_ms - used_up_ms)} before the {name} ends at {ends}."
        + bound.set_by,
        f"{bound.more(used)} Or have less asked for.",
        data,
    )


def denied_news(
    turn: Turn, tenant: str, resource: str, since_ms: int, now_ms: int, denied: int, why: str
) -> News:
    """Say that nothing but refusals is heard."""
    data: Data = {
        "tenant": tenant,
        "resource": resource,
        "denied": denied,
    }
    if turn == "over":
        title = f"{tenant}: {resource} is no longer refused all the time"
        text = "Requests are granted again, or no longer made."
        return News("quota.denied", "info", title, text, data=data)
    return News(
        "quota.denied",
        "critical",
        f"{tenant}: every request for {resource} refused for {span(now_ms - since_ms)}",
        f"Nothing has been granted since {clock(since_ms, now_ms)}"
        + (f": {_settled(why)}." if why else ".")
        + f" {many(denied, 'request')} refused since the ledger began.",
        f"See what is used up: headgate quota show {tenant}; and who holds it: "
        f"{_holders(tenant, resource)}.",
        data,
    )


def waiting_news(
    turn: Turn,
    tenant: str,
    resource: str,
    oldest: Waiter | None,
    waiting: int,
    now_ms: int,
    why: str,
) -> News:
    """Say that a job waits for long."""
    data: Data = {
        "tenant": tenant,
        "resource": resource,
        "waiting": waiting,
    }
    if turn == "over" or oldest is None:
        title = f"{tenant}: nobody waits long for {resource} any more"
        text = f"{many(waiting, 'job')} in line." if waiting else "The line is empty."
        return News("quota.waiting", "info", title, text, data=data)
    waited_ms = now_ms - oldest.since_ms
    return News(
        "quota.waiting",
        "warning",
        f"{tenant}: a job has waited {span(waited_ms)} for {resource}",
        f"{oldest.workflow_id} has waited since {clock(oldest.since_ms, now_ms)}; "
        f"{many(waiting, 'job is', 'jobs are')} in line" + (f". {_settled(why)}." if why else "."),
        f"See what it waits for: headgate why {oldest.workflow_id}; and who holds it: "
        f"{_holders(tenant, resource)}.",
        {**data, "workflow_id": oldest.workflow_id, "waited_ms": waited_ms},
    )


def expiring_news(tenant: str, one: QuotaOverride | Throttle, ends_ms: int, now_ms: int) -> News:
    """Say that what people have set is about to end."""
    is_override = isinstance(one, QuotaOverride)
    what = "override" if is_override else "throttle"
    resource = "all resources" if one.resource == "*" else one.resource
    if isinstance(one, QuotaOverride):
        changes = [f"{name}={plain(value)}" for name, value in one.changes.values.items()]
        set_to, words = ", ".join(changes), " ".join(changes)
        again = f"headgate quota override {tenant} {one.resource} {words} --for 2h {REASON}"
    else:
        set_to = "nothing is granted" if one.share == 0 else f"cut to {one.share:.0%}"
        of = "" if one.resource == "*" else f" --resource {one.resource}"
        again = f"headgate throttle tenant {tenant} --to {one.share:.0%}{of} --for 2h {REASON}"
    at = clock(ends_ms, now_ms)
    return News(
        f"{what}.expiring",
        "info",
        f"{tenant}: {what} of {resource} ends in {span(ends_ms - now_ms)}",
        f"What {one.actor} set ({set_to}: {one.reason}) ends at {at}; then what is configured "
        "holds again.",
        f"Set it anew if it is still needed: {again}.",
        {"tenant": tenant, "resource": one.resource, "id": one.id, "ends_at_ms": ends_ms},
    )


def _holders(tenant: str, resource: str) -> str:
    """Return the command that shows who holds something."""
    return f"headgate holders {tenant} --resource {resource}"


def _settled(reason: str) -> str:
    """Return a reason without the guess of how long it may last: it has lasted already."""
    return reason.partition("; about ")[0]


def gather_reclaimed(episode: Episode, permit: Permit) -> None:
    """Add a permit that was left behind to what is told of together."""
    tally = episode.tally
    tally[_PERMITS] = tally.get(_PERMITS, 0) + 1
    for resource, units in permit.needs:
        tally[resource] = tally.get(resource, 0) + units
    if permit.workflow_id not in episode.named:
        if len(episode.named) < _MOST_NAMED:
            episode.named.append(permit.workflow_id)
        else:
            tally[_OTHERS] = 1


def reclaimed_news(tenant: str, episode: Episode, now_ms: int) -> News:
    """Say what was left behind, and by whom."""
    tally = episode.tally
    units = {name: tally[name] for name in sorted({*tally} - {_PERMITS, _OTHERS})}
    total = tally.get(_PERMITS, sum(units.values()))
    listed = ", ".join(f"{count} {resource}" for resource, count in units.items())
    of = ", ".join([*(episode.named or ["workflows"]), *(["others"] if _OTHERS in tally else [])])
    return News(
        "permits.reclaimed",
        "warning",
        f"{tenant}: {many(total, 'permit')} reclaimed",
        f"{listed} of {of}, closed since {clock(episode.since_ms, now_ms)} without giving them "
        "back. Others can use them now; nothing is lost.",
        "Jobs that are terminated, or time out, do that; a job that often does should release its "
        f"permit in a finally block. See who holds what: headgate holders {tenant}.",
        {
            "tenant": tenant,
            "permits": total,
            "jobs": ", ".join(episode.named),
            **{f"of:{name}": count for name, count in units.items()},
        },
    )
