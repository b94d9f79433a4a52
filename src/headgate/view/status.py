"""One line that says whether work flows, and what needs attention first."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal

from headgate.model.breaker import BreakerState
from headgate.model.contract import Message
from headgate.model.limits import PressureLevel
from headgate.view.standing import BreakerStanding, PoolStanding, TenantStanding
from headgate.view.words import lasting, requests_wait, whom

STALE_MS: Final = 20_000
"""A governance worker says every few seconds that it runs, and that Temporal answers it; after so
long none does."""

OVERDUE_MS: Final = 60_000
"""What should have changed so long ago, and has not been saved, is not as it is shown."""

TURNED_AWAY_FOR_MS: Final = 60_000
"""Calls that gates did not let pass are counted for so long."""

CLOSE_TO_OPENING: Final = 0.25
"""A breaker of whose way to opening so little is left needs attention."""

Severity = Literal["critical", "warning", "notice"]

_RANK: Final = {"critical": 0, "warning": 1, "notice": 2}
_SHUT: Final = (BreakerState.OPEN, BreakerState.FORCED_OPEN, BreakerState.HALF_OPEN)


class Verdict(StrEnum):
    """Whether work flows."""

    FLOWING = "flowing"
    BLOCKED = "blocked"
    STALE = "stale"


class Attention(Message):
    """Something that people should look at.

    Attributes:
        severity: ``critical``: work stands still; ``warning``: it is held up, or soon may be;
            ``notice``: good to know.
        kind: Of what.
        name: The name of the downstream, tenant, pool or channel.
        subject: Such as ``breaker/scanner``, ``tenant/acme/scan``, ``pool/scan``, ``channel/ops``.
        message: In a sentence, with numbers.
        since_ms: Since when; null: not known.
        command: With which command to look closer.
    """

    severity: Severity
    kind: Literal["breaker", "tenant", "pool", "channel"]
    name: str
    subject: str
    message: str
    since_ms: int | None = None
    command: str


class ChannelTrouble(Message):
    """A channel of alerts that takes none.

    Attributes:
        name: Its name.
        is_disabled: It is not tried any more: its endpoint was gone.
        since_ms: Since when, Unix time.
        error: What its last failure was.
    """

    name: str
    is_disabled: bool
    since_ms: int
    error: str


class Totals(Message):
    """How much there is of everything."""

    breakers: int = 0
    tenants: int = 0
    pools: int = 0
    waiting: int = 0
    waiting_tenants: int = 0


class Status(Message):
    """Whether work flows.

    Attributes:
        verdict: In a word.
        line: In a line.
        attention: What to look at, the most urgent first.
        totals: How much there is of everything.
        turned_away: Calls that gates did not let pass in the last ``TURNED_AWAY_FOR_MS``, by
            downstream; of the others there are none. Temporal tries those of governed activities
            again, so that their jobs wait in no line.
        at_ms: When this was reckoned.
        worker_seen_ms: When a governance worker last said that it runs; null: never.
        temporal_answered_ms: When Temporal last answered a governance worker; null: never.
        saved_at_ms: When anything was last saved; null: never.
    """

    verdict: Verdict
    line: str
    attention: list[Attention]
    totals: Totals
    turned_away: dict[str, int] = {}
    at_ms: int
    worker_seen_ms: int | None
    temporal_answered_ms: int | None = None
    saved_at_ms: int | None


def status(
    breakers: Sequence[BreakerStanding],
    tenants: Sequence[TenantStanding],
    pools: Sequence[PoolStanding],
    totals: Totals,
    now_ms: int,
    worker_seen_ms: int | None,
    temporal_answered_ms: int | None,
    saved_at_ms: int | None,
    turned_away: Mapping[str, int] | None = None,
    channels: Sequence[ChannelTrouble] = (),
) -> Status:
    """Return whether work flows, and what needs attention first.

    Args:
        breakers: All of them.
        tenants: At least those that wait or are paused.
        pools: All of them.
        totals: How much there is.
        now_ms: Unix time.
        worker_seen_ms: When a governance worker last said that it runs.
        temporal_answered_ms: When Temporal last answered a governance worker; None: never.
        saved_at_ms: When anything was last saved.
        turned_away: Calls that gates did not let pass lately, by downstream.
        channels: Those that take no alerts.
    """
    turned_away = dict(turned_away or {})
    found = [
        one
        for breaker in breakers
        for one in _of_breaker(breaker, turned_away.get(breaker.downstream, 0), now_ms)
    ]
    found += [one for pool in pools for one in _of_pool(pool, now_ms)]
    found += [one for tenant in tenants for one in _of_tenant(tenant)]
    found += [_of_channel(one) for one in channels]
    found.sort(key=lambda one: (_RANK[one.severity], one.since_ms or now_ms, one.subject))
    verdict, line = Verdict.STALE, _stale(breakers, now_ms, worker_seen_ms, temporal_answered_ms)
    if not line:
        verdict, line = _verdict(breakers, found, totals, turned_away, now_ms)
    return Status(
        verdict=verdict,
        line=line,
        attention=found,
        totals=totals,
        turned_away=turned_away,
        at_ms=now_ms,
        worker_seen_ms=worker_seen_ms,
        temporal_answered_ms=temporal_answered_ms,
        saved_at_ms=saved_at_ms,
    )


def _stale(
    breakers: Sequence[BreakerStanding],
    now_ms: int,
    worker_seen_ms: int | None,
    temporal_answered_ms: int | None,
) -> str:
    """Return why what is shown is old; empty: it is not."""
    if worker_seen_ms is None:
        return "no governance worker has run yet: start one with headgate worker"
    if (silent_ms := now_ms - worker_seen_ms) > STALE_MS:
        return (
            f"no governance worker has been seen for {lasting(silent_ms)}: what is shown is from "
            "before, and nothing is decided until one runs"
        )
    # A worker that runs learns nothing, and says so in Postgres, which it still reaches.
    if temporal_answered_ms is None or (ms := now_ms - temporal_answered_ms) > STALE_MS:
        so_long = "yet" if temporal_answered_ms is None else f"for {lasting(ms)}"
        return (
            f"Temporal has not answered the governance worker {so_long}: what is shown is from "
            "before, and nothing is decided until it does"
        )
    late = [one.downstream for one in breakers if _is_overdue(one, now_ms)]
    if late:
        return f"{_some(late)} should have changed by now and {_have(late)} not: is Temporal well?"
    return ""


def _verdict(
    breakers: Sequence[BreakerStanding],
    found: Sequence[Attention],
    totals: Totals,
    turned_away: Mapping[str, int],
    now_ms: int,
) -> tuple[Verdict, str]:
    held_back = bool(turned_away) or any(one.state in _SHUT for one in breakers)
    wait = _wait(totals, held_back=held_back) + _turned_away(breakers, turned_away, now_ms)
    by = [one.subject for one in found if one.severity == "critical"]
    if by:
        return Verdict.BLOCKED, f"blocked by {_some(by)}; {wait}"
    if not totals.breakers + totals.tenants + totals.pools:
        return Verdict.FLOWING, "nothing is governed yet"
    return Verdict.FLOWING, f"flowing; {wait}"


def _of_breaker(one: BreakerStanding, turned_away: int, now_ms: int) -> list[Attention]:
    subject, command = f"breaker/{one.downstream}", f"headgate breaker show {one.downstream}"

    def item(severity: Severity, message: str) -> list[Attention]:
        return [
            Attention(
                severity=severity,
                kind="breaker",
                name=one.downstream,
                subject=subject,
                message=message,
                since_ms=one.since_ms or None,
                command=command,
            )
        ]

    by = f" by {one.set_by}" if one.set_by else ""
    ends = ""
    if one.until_ms is not None and one.until_ms > now_ms:
        ends = f", for {lasting(one.until_ms - now_ms)} more"
    away = f"; {_calls(turned_away)} turned away in the last minute" if turned_away else ""
    if _is_overdue(one, now_ms):
        return item("critical", f"{one.state}, and should have changed before: not up to date")
    if one.state in _SHUT:
        what = {
            BreakerState.OPEN: "OPEN: no call passes",
            BreakerState.HALF_OPEN: "HALF_OPEN: only probes pass",
            BreakerState.FORCED_OPEN: f"FORCED_OPEN{by}: no call passes",
        }[one.state]
        tenants = " tenant hit" if len(one.affected) == 1 else " tenants hit"
        hit = f"; {whom(one.affected, what=tenants)}" if one.affected else ""
        return item("critical", f"{what}{ends}: {one.reason}{away}{hit}")
    if one.state is BreakerState.RAMP:
        return item("warning", f"RAMP: a growing share of the calls passes{ends}{away}")
    if one.state in (BreakerState.SHADOW, BreakerState.FORCED_CLOSED):
        would = "" if one.own_state is BreakerState.CLOSED else f"; by itself {one.own_state}"
        severity: Severity = "warning" if would else "notice"
        return item(severity, f"{one.state}{by}: every call passes{ends}{would}: {one.reason}")
    found = []
    if one.share is not None:
        found += item("warning", f"cut to {one.share * 100:g}% of the calls{by}{away}")
    if one.margin.share <= CLOSE_TO_OPENING:
        found += item("warning", f"close to opening: {margin_words(one)}")
    return found


def margin_words(one: BreakerStanding) -> str:
    """Return in few words how far a breaker is from opening."""
    margin = one.margin
    if one.own_state is not BreakerState.CLOSED:
        return "-"
    words = f"{margin.share:.0%} left"
    if margin.failures is not None:
        words += f", {margin.failures} more failure{'' if margin.failures == 1 else 's'} open it"
    return words


def _of_pool(one: PoolStanding, now_ms: int) -> list[Attention]:
    subject, command = f"pool/{one.pool}", f"headgate pool show {one.pool}"
    found = []
    since_ms = one.pressure_since_ms or None
    if one.pressure is not PressureLevel.NORMAL:
        severity: Severity = "notice" if one.pressure is PressureLevel.ELEVATED else "warning"
        found.append((severity, f"pressure {one.pressure}: {one.cause}", since_ms))
    if one.enforced and one.waiting and not any(one.capacity.values()):
        found.append(("critical", f"its capacity is 0, and {requests_wait(one.waiting)}", None))
    if one.unheard:
        found.append(("warning", f"{_ledgers(one.unheard)} not said what is held", None))
    found += [("notice", condition, None) for condition in one.conditions]
    return [
        Attention(
            severity=severity,
            kind="pool",
            name=one.pool,
            subject=subject,
            message=message,
            since_ms=since,
            command=command,
        )
        for severity, message, since in found
    ]


def _of_tenant(tenant: TenantStanding) -> list[Attention]:
    found = []
    for one in tenant.resources:
        if one.paused and one.waiting:
            found.append(_tenant(one.resource, tenant, "critical", one.paused, one.waiting))
        elif one.waiting and one.window is not None and one.window.used >= one.window.limit:
            window = f"{one.window.used} of {one.window.limit} {one.window.kind} used"
            found.append(_tenant(one.resource, tenant, "warning", window, one.waiting))
        elif one.waiting:
            room = "" if one.room is None else f" of {one.room}"
            held = f"{one.used + one.leased}{room} held"
            found.append(_tenant(one.resource, tenant, "notice", held, one.waiting))
        elif one.paused:
            found.append(_tenant(one.resource, tenant, "notice", one.paused, 0))
    return found


def _tenant(
    resource: str, tenant: TenantStanding, severity: Severity, why: str, waiting: int
) -> Attention:
    wait = f"; {waiting} wait" if waiting else ""
    return Attention(
        severity=severity,
        kind="tenant",
        name=tenant.tenant,
        subject=f"tenant/{tenant.tenant}/{resource}",
        message=f"{why}{wait}",
        command=f"headgate quota show {tenant.tenant}",
    )


def _of_channel(one: ChannelTrouble) -> Attention:
    state = "disabled" if one.is_disabled else "takes no alerts"
    return Attention(
        severity="warning",
        kind="channel",
        name=one.name,
        subject=f"channel/{one.name}",
        message=f"{state}: {one.error.removeprefix(f'channel {one.name}: ')}",
        since_ms=one.since_ms,
        command="headgate notifier list",
    )


def _is_overdue(one: BreakerStanding, now_ms: int) -> bool:
    return one.until_ms is not None and now_ms - one.until_ms > OVERDUE_MS


def _turned_away(
    breakers: Sequence[BreakerStanding], turned_away: Mapping[str, int], now_ms: int
) -> str:
    """Return how many calls were not let pass, and of whom as far as that is known.

    A breaker remembers whose calls failed or were turned away: where none passes, the latter.
    """
    if not turned_away:
        return ""
    by = [one for one in breakers if one.downstream in turned_away]
    tenants = [
        whose.tenant
        for one in by
        for whose in one.affected
        if whose.at_ms > now_ms - TURNED_AWAY_FOR_MS
    ]
    if any(one.state not in _SHUT for one in by):
        tenants = []
    of = f" (of {_some(tenants)})" if tenants else ""
    count = sum(turned_away.values())
    were = "was" if count == 1 else "were"
    return f"; {_calls(count)} to {_some([*turned_away])} {were} turned away in the last minute{of}"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def _wait(totals: Totals, *, held_back: bool) -> str:
    if not totals.waiting:
        # Jobs whose calls are turned away do wait: until Temporal tries these again.
        return "nobody waits in line" if held_back else "nobody waits"
    tenants = "1 tenant" if totals.waiting_tenants == 1 else f"{totals.waiting_tenants} tenants"
    requests = "1 request" if totals.waiting == 1 else f"{totals.waiting} requests"
    return f"{requests} of {tenants} wait{'s' if totals.waiting == 1 else ''}"


def _ledgers(count: int) -> str:
    return "1 ledger has" if count == 1 else f"{count} ledgers have"


def _some(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    more = len(shown) - 3
    return ", ".join(shown[:3]) + (f" and {more} more" if more > 0 else "")


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
