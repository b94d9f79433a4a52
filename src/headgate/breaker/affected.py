"""Whom it concerns: the tenants whose calls lately failed or were turned away."""

from collections.abc import Mapping
from dataclasses import dataclass

from headgate.model.breaker import AFFECTED_FOR_MS, MOST_AFFECTED, AffectedTenant


@dataclass(slots=True)
class Affected:
    """What has happened to the calls of one tenant, since it last was left alone for long.

    Attributes:
        calls: That failed or were turned away.
        at_ms: When a gate last told of one.
    """

    calls: int = 0
    at_ms: int = 0


def count(known: dict[str, Affected], calls: Mapping[str, int], now_ms: int) -> None:
    """Count calls by tenant; who has been left alone for long is forgotten, or makes room."""
    for tenant in [name for name, one in known.items() if one.at_ms <= now_ms - AFFECTED_FOR_MS]:
        del known[tenant]
    for tenant, number in sorted(calls.items()):
        one = known.setdefault(tenant, Affected())
        one.calls += number
        one.at_ms = max(one.at_ms, now_ms)
    while len(known) > MOST_AFFECTED:
        del known[min(known, key=lambda name: (known[name].at_ms, known[name].calls, name))]


def shown(known: Mapping[str, Affected], now_ms: int) -> list[AffectedTenant]:
    """Return who is affected now, those with the most calls first."""
    return [
        AffectedTenant(tenant=tenant, calls=one.calls, at_ms=one.at_ms)
        for tenant, one in sorted(known.items(), key=lambda item: (-item[1].calls, item[0]))
        if one.at_ms > now_ms - AFFECTED_FOR_MS
    ]
