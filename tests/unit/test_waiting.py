"""Who waits is looked after: one whose workflow has closed is in nobody's way for long."""

from headgate.quota import Ledger
from headgate.quota.ways import Ways
from tests.unit.ledgers import NOW_MS, WAITING, again, ask, make

HOUR_MS = 3_600_000


def line() -> Ledger:
    """Return a ledger with one permit held and two who wait, looked after every 10 s."""
    ledger = make(max_active=1)
    ask(ledger, "holds")
    for id in ("first", "second"):
        assert ask(ledger, id, wait_ms=HOUR_MS).outcome is WAITING
    return ledger


def due(ledger: Ledger, now_ms: int) -> list[str]:
    return [id for id, _, _ in ledger.holders_to_check(now_ms, 100)]


def test_one_that_has_closed_leaves_the_line() -> None:
    ledger = line()
    every_ms = (ledger.next_check() or 0) - NOW_MS
    assert due(ledger, NOW_MS + every_ms - 1) == []
    assert due(ledger, NOW_MS + every_ms) == ["holds", "first", "second"]
    ledger.reclaim("first", NOW_MS + every_ms)
    assert list(ledger.record.waiters) == ["second"]
    view = ledger.why("second", NOW_MS + every_ms)
    assert view is not None and view.reason is not None and view.reason.position == 1
    ledger.release("holds", NOW_MS + every_ms)
    assert set(ledger.record.permits) == {"second"}
    ledger.check_conservation()


def test_who_waits_long_is_asked_for_less_and_less_often_also_by_the_next_run() -> None:
    ledger = line()
    every_ms = (ledger.next_check() or 0) - NOW_MS
    asked_ms = []
    for _ in range(4):
        ledger = again(ledger)
        at_ms = min(one.check_at_ms for one in ledger.record.waiters.values())
        due(ledger, at_ms)
        asked_ms.append(at_ms - NOW_MS)
    assert asked_ms == [every_ms, 2 * every_ms, 4 * every_ms, 8 * every_ms]


def test_who_waits_only_for_a_moment_is_not_looked_after() -> None:
    ledger = make(max_active=1)
    ask(ledger, "holds")
    assert ask(ledger, "hasty", wait_ms=500).outcome is WAITING
    assert ledger.record.waiters["hasty"].check_at_ms == 0


def test_a_run_that_began_before_looks_after_holders_only() -> None:
    ledger = line()
    old = Ledger(ledger.record, 10_000, Ways(minds_waiters=False))
    assert ask(old, "third", wait_ms=HOUR_MS).outcome is WAITING
    assert old.record.waiters["third"].check_at_ms == 0
