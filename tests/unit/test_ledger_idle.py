"""A ledger that nobody asks for anything arms no timer; here 10,000 of them do not."""

import pytest

from headgate.model.alert_rules import AlertRules
from headgate.model.ledger import Exchange
from headgate.model.pool import Allocation
from headgate.quota import Ledger
from tests.unit.ledgers import DENIED, GRANTED, NOW_MS, WAITING, acquire, ask, quotas

KINDS: dict[str, dict[str, object]] = {
    "nothing": {},
    "held": {"max_active": 2},
    "rate": {"max_active": 2, "rate": "5/s", "burst": 5},
    "windows": {"max_active": 2, "per_hour": 3, "per_day": 5, "per_month": 9},
    "pooled": {"max_active": 2, "guaranteed": 1, "weight": 3},
}
AN_HOUR_MS = 3_600_000
LATEST_MS = NOW_MS + 40 * 24 * AN_HOUR_MS
"""By then the longest calendar window is over."""


def deadlines(ledger: Ledger) -> list[int]:
    """Return all that the workflow arms timers for."""
    found = (ledger.next_deadline(), ledger.next_check(), ledger.demands_due_at_ms())
    return [at_ms for at_ms in found if at_ms is not None]


@pytest.mark.parametrize("alerts", [None, AlertRules()])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_idle_ledgers_of_each_kind_wait_for_nothing(
    kind: str, alerts: AlertRules | None
) -> None:
    settings = quotas(scan=KINDS[kind]).model_copy(update={"alerts": alerts})
    if kind == "pooled":
        settings = settings.model_copy(update={"pools": {"scan": "pool"}})
    for number in range(1_000):
        ledger = Ledger.begin(f"tenant-{number}", settings, incarnation=1)
        assert deadlines(ledger) == []  # before anybody has ever asked
        now_ms = NOW_MS + number
        if kind == "pooled":
            allocation = Allocation(pool="pool", sequence=1, incarnation=1, units={"scan": 2})
            ledger.allocate(allocation, now_ms)
            ledger.demands_sent(ledger.demands())
        outcomes = [
            ask(ledger, "a", now_ms=now_ms).outcome,
            ask(ledger, "b", now_ms=now_ms, units=2).outcome,
            ask(ledger, "c", now_ms=now_ms, units=2, wait_ms=60_000).outcome,
        ]
        assert outcomes == [GRANTED, GRANTED if kind == "nothing" else DENIED, outcomes[2]]
        assert outcomes[2] is (GRANTED if kind == "nothing" else WAITING)
        assert deadlines(ledger) != []  # somebody holds a permit
        ledger.exchange(Exchange(gate="g", acquires=[], releases=["a", "b", "c"]), now_ms + 1)
        # What is left over is looked at a few times, and then never again.
        for _ in range(20):
            if ledger.demands_due():
                ledger.demands_sent(ledger.demands())
            left = deadlines(ledger)
            if not left:
                break
            assert min(left) <= LATEST_MS
            now_ms = max(now_ms + 1, min(left))
            ledger.advance(now_ms)
            if ledger.demands_due_at_ms() is not None:
                ledger.demands_sent(ledger.demands())
        assert deadlines(ledger) == [] and not ledger.demands_due()
        ledger.advance(LATEST_MS)
        assert deadlines(ledger) == []
        assert ask(ledger, "d", now_ms=LATEST_MS).outcome is GRANTED
        assert acquire("d").id in ledger.record.permits
