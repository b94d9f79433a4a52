"""Blocks of permits: what the ledger counts is never less than what gates have out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.gate.block import Block
from headgate.model.lease import LEASE_MS, LeaseAsk, LeaseGrant, LeaseHolder
from headgate.model.ledger import Acquire, Exchange, Holder, Outcome
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger

NOW_MS = 1_700_000_000_000


def ledger(**quota: Any) -> Ledger:
    given = LedgerSettings(quotas={"scan": Quota(**quota)}, source="listed")
    return Ledger.begin("acme", given, 1, 10_000)


class Gate:
    """A gate with one block; its clock is the ledger's, in seconds."""

    def __init__(self, book: Ledger, name: str = "g1") -> None:
        self.ledger = book
        self.name = name
        self.block = Block("scan", 1, hold_ms=0)

    def exchange(self, now_ms: int, *, lost: bool = False, twice: bool = False) -> None:
        ask = self.block.ask(now_ms / 1000)
        for _ in range(2 if twice else 1):
            reply = self.ledger.exchange(Exchange(gate=self.name, leases=[ask]), now_ms)
            self.ledger.check_conservation()
        if not lost:
            self.block.hear(reply.leases[0])

    def want(self, units: int, now_ms: int) -> None:
        self.block.waiting = units
        self.exchange(now_ms)
        self.block.waiting = 0


def units(book: Ledger) -> int:
    return book.record.meters["scan"].units


def test_a_gate_grants_from_its_block_and_the_ledger_counts_all_of_it() -> None:
    book = ledger(max_active=10)
    gate = Gate(book)
    gate.want(4, NOW_MS)
    assert gate.block.units == 6  # what was wanted, and some more
    assert units(book) == 6
    assert [gate.block.take(2, NOW_MS / 1000) for _ in range(4)] == [True, True, True, False]
    gate.exchange(NOW_MS + 1_000)
    account = book.view().accounts["scan"]
    assert (account.granted, account.held, account.released) == (3, 3, 0)
    for _ in range(3):
        gate.block.give(2)
    gate.exchange(NOW_MS + 2_000)
    account = book.view().accounts["scan"]
    assert (account.granted, account.held, account.released) == (3, 0, 3)


def test_an_idle_gate_gives_its_block_back_and_the_ledger_forgets_it() -> None:
    book = ledger(max_active=10)
    gate = Gate(book)
    gate.want(4, NOW_MS)
    gate.exchange(NOW_MS + 20_000)
    gate.exchange(NOW_MS + 40_000)
    assert gate.block.units == 0
    assert units(book) == 0
    assert book.record.leases == {}
    assert book.next_deadline() is None


def test_a_block_that_is_over_is_noticed_late_unless_somebody_would_have_what_comes_back() -> None:
    book = ledger(max_active=10)
    Gate(book).want(4, NOW_MS)
    over_ms = NOW_MS + LEASE_MS
    assert book.next_deadline() == over_ms + LEASE_MS
    holder = Holder(workflow_id="w1", run_id="r1")
    waits = Acquire(
        id="p1", holder=holder, resource="scan", units=5, wait_until_ms=NOW_MS + 600_000
    )
    book.exchange(Exchange(gate="g2", acquires=[waits]), NOW_MS + 1)
    assert book.next_deadline() == over_ms
    book.advance(over_ms)
    assert list(book.record.wakes) == ["p1"]


def test_before_that_a_message_finds_what_is_over() -> None:
    book = ledger(max_active=6)
    Gate(book).want(4, NOW_MS)
    other = Gate(book, "g2")
    other.want(4, NOW_MS + LEASE_MS)
    assert other.block.units == 6


def test_a_repeat_is_answered_alike_and_counts_once() -> None:
    book = ledger(max_active=10)
    gate = Gate(book)
    gate.want(4, NOW_MS)
    assert gate.block.take(3, NOW_MS / 1000)
    gate.exchange(NOW_MS + 1_000, twice=True)
    assert book.view().accounts["scan"].granted == 1


def test_several_gates_share_what_there_is_and_each_has_its_turn() -> None:
    book = ledger(max_active=2)
    gates = [Gate(book, f"g{n}") for n in range(3)]
    served = [0, 0, 0]
    for step in range(30):
        now_ms = NOW_MS + step * 1_000
        for n, gate in enumerate(gates):
            if gate.block.out:
                gate.block.give(1)
            gate.block.waiting = 1
            gate.exchange(now_ms)
            if gate.block.take(1, now_ms / 1000):
                served[n] += 1
            assert sum(each.block.out for each in gates) <= 2
    assert min(served) >= 5, served


def test_a_line_of_jobs_is_not_starved_by_blocks() -> None:
    book = ledger(max_active=2)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000) and gate.block.take(1, NOW_MS / 1000)
    acquire = Acquire(
        id="job", holder=Holder(workflow_id="w"), resource="scan", wait_until_ms=NOW_MS + 60_000
    )
    reply = book.exchange(Exchange(gate="other", acquires=[acquire]), NOW_MS)
    assert reply.decisions[0].outcome is Outcome.WAITING
    gate.block.give(1)
    gate.want(1, NOW_MS + 1_000)
    gate.exchange(NOW_MS + 2_000)  # it has heard that its block is smaller
    assert "job" in book.record.permits
    assert gate.block.units == 1


def test_a_pause_stops_a_block_at_the_next_ask_with_the_reason() -> None:
    book = ledger(max_active=5)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    paused = Quota(max_active=5, paused="a drill")
    book.configure(LedgerSettings(quotas={"scan": paused}, source="listed"), NOW_MS + 1)
    gate.want(2, NOW_MS + 2)
    assert gate.block.units == 0
    assert gate.block.grant is not None and gate.block.grant.reason is not None
    assert gate.block.grant.reason.code is ReasonCode.SUSPENDED


def test_who_has_no_quota_gets_no_block_and_hears_why() -> None:
    book = Ledger.begin("acme", LedgerSettings(), 1)
    gate = Gate(book)
    gate.want(1, NOW_MS)
    assert gate.block.is_over
    assert book.record.leases == {}
    assert gate.block.grant is not None and gate.block.grant.reason is not None
    assert gate.block.grant.reason.code is ReasonCode.UNKNOWN_TENANT


def test_a_rate_holds_over_all_gates() -> None:
    book = ledger(rate="10/s", burst=10)
    gates = [Gate(book, f"g{n}") for n in range(4)]
    started = 0
    for step in range(100):
        now_ms = NOW_MS + step * 100
        for gate in gates:
            gate.block.waiting = 5
            gate.exchange(now_ms)
            while gate.block.take(1, now_ms / 1000):
                gate.block.give(1)
                started += 1
        assert started <= 10 + (step + 1)
    assert started >= 90


def test_what_was_not_started_is_given_back_to_rate_and_window() -> None:
    book = ledger(rate="10/s", burst=10, per_day=100)
    one = Gate(book, "one")
    one.block.waiting = 10
    one.exchange(NOW_MS)
    assert one.block.starts == 10
    assert book.record.meters["scan"].windows["per_day"].used == 10
    one.block.waiting = 0
    one.block._asked_s = NOW_MS / 1000 - 100  # it has started nothing for long
    one.exchange(NOW_MS + 1)
    one.exchange(NOW_MS + 2)
    assert book.record.meters["scan"].windows["per_day"].used == 0
    two = Gate(book, "two")
    two.block.waiting = 10
    two.exchange(NOW_MS + 3)
    assert two.block.starts == 10


def test_jobs_of_a_block_that_was_not_renewed_hold_permits_of_their_own() -> None:
    book = ledger(max_active=10, max_hold_ms=600_000)
    gate = Gate(book)
    gate.block.hold_ms = 5_000
    gate.want(4, NOW_MS)
    assert gate.block.take(2, NOW_MS / 1000) and gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id="job", workflow_id="w", run_id="r", units=2))
    gate.exchange(NOW_MS + 1_000)  # the process is killed after this
    counted = units(book)
    late_ms = NOW_MS + 1_000 + LEASE_MS
    book.advance(late_ms)
    book.check_conservation()
    assert book.record.permits["job"].units == 2
    assert units(book) == counted  # a call may still be on its way
    book.advance(late_ms + 5_000)
    book.check_conservation()
    assert units(book) == 2
    assert book.view().accounts["scan"].expired == 1
    book.reclaim("job", late_ms + 5_000)
    assert units(book) == 0


def test_a_gate_that_comes_back_late_grants_nothing_and_says_what_is_out() -> None:
    book = ledger(max_active=4, max_hold_ms=600_000)
    gate = Gate(book)
    gate.block.hold_ms = 3_600_000
    gate.want(3, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000) and gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id="job", workflow_id="w", run_id="r"))
    late_ms = NOW_MS + 120_000
    assert not gate.block.take(1, late_ms / 1000)
    book.advance(late_ms)
    assert units(book) == 4  # as far as the ledger knows all of it may be out
    gate.block.end()
    gate.exchange(late_ms)
    book.check_conservation()
    assert "job" in book.record.permits
    assert units(book) == 2  # the job, and the call that is still out
    gate.block.give(1)
    gate.exchange(late_ms + 1)
    book.check_conservation()
    assert units(book) == 1
    assert book.record.leases == {}


def test_a_job_that_ended_elsewhere_is_told_to_the_gate_that_counts_it() -> None:
    book = ledger(max_active=4)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id="job", workflow_id="w", run_id="r"))
    gate.exchange(NOW_MS + 1)
    book.release("job", NOW_MS + 2)
    gate.exchange(NOW_MS + 3)
    grant = gate.block.grant
    assert grant is not None and grant.ended == ["job"]
    assert gate.block.let_go("job") is not None
    gate.exchange(NOW_MS + 4)
    assert gate.block.grant is not None and gate.block.grant.ended == []
    assert book.view().accounts["scan"].released == 1


def test_jobs_of_a_block_are_looked_after() -> None:
    book = ledger(max_active=4)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id="job", workflow_id="w", run_id="r"))
    gate.exchange(NOW_MS)
    assert book.next_check() == NOW_MS + 10_000
    assert book.holders_to_check(NOW_MS + 10_000, 10) == [("job", "w", "r")]
    book.reclaim("job", NOW_MS + 10_001)
    gate.exchange(NOW_MS + 10_002)
    assert gate.block.grant is not None and gate.block.grant.ended == ["job"]


@pytest.mark.parametrize(
    "wrong", [{"in_use": 2, "started": 1}, {"uses": 1}, {"ceiling": 0, "in_use": 1, "started": 1}]
)
def test_an_ask_that_does_not_add_up_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"more is out|a ceiling"):
        LeaseAsk(resource="scan", number=1, **wrong)


def test_an_ask_of_an_unknown_block_is_told_that_it_is_over() -> None:
    book = ledger(max_active=4)
    ask = LeaseAsk(resource="scan", term=3, number=7, wanted=2)
    grant = book.exchange(Exchange(gate="g", leases=[ask]), NOW_MS).leases[0]
    assert grant == LeaseGrant(resource="scan", term=3, number=7, is_over=True, for_ms=0)


class _Call:
    def __init__(self, block: Block, gate: int, ends_ms: int, job: str | None) -> None:
        self.block, self.gate, self.ends_ms, self.job = block, gate, ends_ms, job


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_gets_lost_no_more_is_out_than_there_is(data: st.DataObject) -> None:
    """Gates with lost answers, repeats, pauses and kills, against one ledger."""
    room = data.draw(st.integers(1, 6))
    hold_ms = 8_000
    book = ledger(max_active=room, max_hold_ms=40_000)
    names = iter(range(1_000))
    gates = [Gate(book, f"g{next(names)}") for _ in range(data.draw(st.integers(1, 3)))]
    calls: list[_Call] = []
    now_ms = NOW_MS
    jobs = iter(range(10_000))
    for _ in range(data.draw(st.integers(5, 40))):
        now_ms += data.draw(st.sampled_from([1, 50, 1_000, 5_000, 15_000, 31_000]))
        for call in [one for one in calls if one.ends_ms <= now_ms]:
            calls.remove(call)
            if call.job is None:
                call.block.give(1)
            elif call.block.let_go(call.job) is None or call.block.is_over:
                book.release(call.job, now_ms)
        book.advance(now_ms)
        n = data.draw(st.integers(0, len(gates) - 1))
        gate = gates[n]
        what = data.draw(st.sampled_from(["call", "call", "job", "ask", "lost", "twice", "kill"]))
        may_last_ms = 39_000 if what == "job" else hold_ms
        if what in ("call", "job"):
            gate.block.hold_ms = max(gate.block.hold_ms, may_last_ms)
        if what in ("call", "job") and gate.block.take(1, now_ms / 1000, may_last_ms):
            job = f"{next(jobs)}" if what == "job" else None
            lasts = data.draw(st.integers(1, may_last_ms))
            if job is not None:
                gate.block.hold(LeaseHolder(id=job, workflow_id=job))
            calls.append(_Call(gate.block, n, now_ms + lasts, job))
        elif what == "kill":
            gates[n] = Gate(book, f"g{next(names)}")
        elif what in ("call", "job"):
            pass
        else:
            gate.block.waiting = data.draw(st.integers(0, 4))
            if gate.block.number and now_ms / 1000 >= gate.block.until_s:
                gate.block.end()
            gate.exchange(now_ms, lost=what == "lost", twice=what == "twice")
            gate.block.waiting = 0
            if gate.block.is_over and not gate.block.is_needed:
                gate.block = Block("scan", gate.block.term + 1, hold_ms=0)
        book.check_conservation()
        assert len(calls) <= room
        assert units(book) >= len(calls) if "scan" in book.record.meters else not calls
