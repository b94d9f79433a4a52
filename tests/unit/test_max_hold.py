"""A permit that has been held for as long as its quota says: its holder is asked for first."""

from headgate.quota import Ledger
from headgate.quota.book import ANSWERED_WITHIN_MS
from tests.unit.ledgers import NOW_MS, WAITING, again, ask, make

END_MS = NOW_MS + 60_000


def held() -> Ledger:
    """Return a ledger whose only permit has just come to its end, while another waits for it."""
    ledger = make(max_active=1, max_hold_ms=60_000)
    ledger.ways.asks_first = True
    ask(ledger, "long")
    assert ask(ledger, "next", wait_ms=86_400_000).outcome is WAITING
    ledger.holders_to_check(END_MS - 1, 100)
    ledger.advance(END_MS)
    return ledger


def to_check(ledger: Ledger, now_ms: int) -> list[str]:
    """Return whose permits are looked after; who waits is, too."""
    found = [id for id, _, _ in ledger.holders_to_check(now_ms, 100)]
    return [id for id in found if id in ledger.record.permits]


def test_its_holder_is_looked_after_at_once_and_it_is_kept_meanwhile() -> None:
    ledger = held()
    assert set(ledger.record.permits) == {"long"}
    assert ledger.next_check() == END_MS
    assert to_check(ledger, END_MS) == ["long"]
    assert to_check(ledger, END_MS + 1) == []


def test_who_runs_keeps_it_and_is_asked_for_again_after_as_long() -> None:
    ledger = held()
    to_check(ledger, END_MS)
    ledger.runs("long", END_MS + 5)
    permit = ledger.record.permits["long"]
    assert permit.expires_at_ms == END_MS + 5 + 60_005
    assert permit.check_at_ms == END_MS + 5 + 60_005
    ledger.check_conservation()
    ledger.advance(END_MS + 5 + 60_005)
    assert to_check(ledger, END_MS + 5 + 60_005) == ["long"]
    ledger.release("long", END_MS + 70_000)
    assert set(ledger.record.permits) == {"next"}


def test_who_has_closed_loses_it_to_the_next() -> None:
    ledger = held()
    ledger.reclaim("long", END_MS + 5)
    assert set(ledger.record.permits) == {"next"}
    assert ledger.record.meters["scan"].reclaimed == 1


def test_of_whom_nothing_can_be_learned_it_expires_after_some_asking() -> None:
    ledger = held()
    asked = 0
    ledger = again(ledger)
    ledger.ways.asks_first = True
    ends_ms = END_MS + ANSWERED_WITHIN_MS
    while (at_ms := ledger.next_check()) is not None and at_ms < ends_ms:
        asked += len(to_check(ledger, at_ms))
    assert asked == 6, "an answer may be lost, as when the ledger continues as new"
    ledger.advance(ends_ms - 1)
    assert set(ledger.record.permits) == {"long"}
    ledger.advance(ends_ms)
    assert set(ledger.record.permits) == {"next"}
    assert ledger.record.meters["scan"].expired == 1


def test_that_a_holder_runs_changes_nothing_before_the_end() -> None:
    ledger = make(max_hold_ms=60_000)
    ledger.ways.asks_first = True
    ask(ledger, "long")
    ledger.runs("long", NOW_MS + 30_000)
    ledger.runs("unknown", NOW_MS + 30_000)
    assert ledger.record.permits["long"].expires_at_ms == END_MS


def test_without_anybody_to_ask_it_ends() -> None:
    ledger = make(max_hold_ms=60_000)
    ask(ledger, "long")
    ledger.advance(END_MS)
    assert ledger.record.permits == {}
