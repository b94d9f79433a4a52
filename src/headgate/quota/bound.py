"""A limit as people meet it in an alert: what makes it what it is, and what gives more."""

from typing import Final, NamedTuple

from headgate.alerts.words import clock, sentence
from headgate.model.quota import QuotaOverride, Throttle
from headgate.quota.limits import (
    Limits,
    base_quota,
    limits_at,
    overrides_in_force,
    quota_changes,
    throttles_of,
)
from headgate.quota.record import LedgerRecord, WindowKind

REASON: Final = '--reason "..."'

_MILLIONTHS: Final = 1_000_000
_MOST_CHANGES: Final = 20
"""So many changes of a limit are looked at to find the one by which something is granted again."""


class Bound(NamedTuple):
    """A limit of a quota, and what people have set that makes it what it is.

    Attributes:
        tenant: Whose.
        resource: Of what.
        name: Of the field, such as ``max_active`` or ``per_day``.
        limit: In force, in units; None: there is none.
        configured: What the configuration says, in units; None: it sets none.
        cut: The throttle that makes it smaller, if one does.
        override: What people have set it to for a time, if they have.
        time_zone: Whose clock people read.
        now_ms: Unix time.
    """

    tenant: str
    resource: str
    name: str
    limit: int | None
    configured: int | None = None
    cut: Throttle | None = None
    override: QuotaOverride | None = None
    time_zone: str = "UTC"
    now_ms: int = 0

    @property
    def set_by(self) -> str:
        """Return who has made it what it is, until when and why; a sentence for each, or nothing.

        Each begins with a space.
        """
        said = ""
        if self.override is not None:
            one, value = self.override, self.override.changes.values[self.name]
            until = self._until(one.ends_at_ms)
            said += sentence(
                f" {self.name} is {plain(value)} {until}, set by {one.actor}: {one.reason}"
            )
        if self.cut is not None:
            cut = self.cut
            until = self._until(cut.until_ms)
            said += sentence(f" It is cut to {cut.share:.0%} {until} by {cut.actor}: {cut.reason}")
        return said

    def more(self, used: int, wanted: int = 1) -> str:
        """Return what gives more, beginning with what takes away what people have set.

        Args:
            used: What is used, in units.
            wanted: So much more should be granted, in units.
        """
        ways = []
        if self.cut is not None:
            ways.append(f"End the cut: headgate throttle lift {self.cut.id} {REASON}.")
        if self.override is not None and self._is_lowered:
            lift = f"headgate quota lift {self.tenant} {self.override.id}"
            ways.append(f"End the override: {lift} {REASON}.")
        ways.append(
            f"{'Or give' if ways else 'Give'} more for a time: {self.override_for(used, wanted)}."
        )
        return " ".join(ways)

    def override_for(self, used: int, wanted: int = 1) -> str:
        """Return the command that gives half as much again, and in any case what is wanted.

        What is overridden is cut by a throttle as what is configured is.
        """
        parts = _MILLIONTHS if self.cut is None else round(self.cut.share * _MILLIONTHS)
        least = -(-(used + wanted) * _MILLIONTHS // max(1, parts))
        most = max(self.limit or 0, self.configured or 0, least - 1)
        more = max(most * 3 // 2 + 1, least)
        of = f"{self.tenant} {self.resource} {self.name}={more}"
        return f"headgate quota override {of} --for 2h {REASON}"

    @property
    def _is_lowered(self) -> bool:
        value = None if self.override is None else self.override.changes.values[self.name]
        return value is not None and (self.configured is None or value < self.configured)

    def _until(self, at_ms: int | None) -> str:
        if at_ms is None:
            return "until that is lifted"
        return f"until {clock(at_ms, self.now_ms, self.time_zone)}"


def bound_of(
    record: LedgerRecord, resource: str, name: str, limits: Limits | None, now_ms: int
) -> Bound:
    """Return a limit of a quota with what people have set.

    Args:
        record: The ledger's.
        resource: Of what.
        name: Of the field.
        limits: What limits the resource at ``now_ms``.
        now_ms: Unix time.
    """
    if limits is None:
        return Bound(record.tenant, resource, name, None, now_ms=now_ms)
    of: dict[str, int | None] = {"max_active": limits.max_active, **dict(limits.windows)}
    base = base_quota(record, resource)
    set_to = [
        one for one in overrides_in_force(record, resource, now_ms) if name in one.changes.values
    ]
    return Bound(
        record.tenant,
        resource,
        name,
        of.get(name),
        None if base is None else getattr(base, name),
        limits.cut,
        set_to[-1] if set_to else None,
        limits.time_zone,
        now_ms,
    )


def opens_at(
    record: LedgerRecord, resource: str, kind: WindowKind, used: int, ends_at_ms: int, now_ms: int
) -> int:
    """Return before when nothing is granted of a calendar window that is used up.

    That is when it ends, or what people or the calendar have lowered its limit by does.

    Args:
        record: The ledger's.
        resource: Of what.
        kind: Of the window.
        used: In it, in units.
        ends_at_ms: When it ends.
        now_ms: Unix time.
    """
    at_ms = now_ms
    for _ in range(_MOST_CHANGES):
        changes = [quota_changes(record, resource, at_ms)[0]]
        changes += [one.until_ms for one in throttles_of(record)]
        at_ms = min((one for one in changes if one is not None and one > at_ms), default=ends_at_ms)
        limits = limits_at(record, resource, at_ms) if at_ms < ends_at_ms else None
        if limits is None:
            return ends_at_ms
        limit = dict(limits.windows).get(kind)
        if limit is None or limit > used:
            break
    return at_ms


def plain(value: object) -> str:
    """Return a value as ``headgate quota override`` takes it."""
    return "none" if value is None else str(value)
