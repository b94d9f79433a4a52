"""Blocks of permits: what the ledger counts is never less than what gates have out."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headgate.gate.block import Block
from headgate.model.alert_rules import AlertRules
from headgate.model.lease import LEASE_MS, LeaseAsk, LeaseGrant, LeaseHolder
from headgate.model.ledger import (
    Acquire,
    Exchange,
    Holder,
    LedgerCommand,
    Outcome,
    SetOverride,
)
from headgate.model.quota import Quota, QuotaChanges
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord
from headgate.quota.ways import Ways

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


def hold(gate: Gate, job: str, now_ms: int, units: int = 1) -> None:
    """Have a job hold units out of a gate's block, and the ledger know it."""
    gate.want(units, now_ms)
    assert gate.block.take(units, now_ms / 1000)
    gate.block.hold(LeaseHolder(id=job, workflow_id="w", run_id="r", units=units))
    gate.exchange(now_ms)


def in_two_blocks(**quota: Any) -> tuple[Ledger, Gate, Gate]:
    book = ledger(max_active=10, **quota)
    one, two = Gate(book, "one"), Gate(book, "two")
    hold(one, "job", NOW_MS)
    hold(two, "job", NOW_MS)
    assert book.view().accounts["scan"].held == 2
    return book, one, two


def test_a_job_in_two_blocks_that_ends_is_told_to_both_gates() -> None:
    book, one, two = in_two_blocks()
    book.release("job", NOW_MS + 1)
    for gate in (two, one):
        gate.exchange(NOW_MS + 2)
        assert gate.block.grant is not None and gate.block.grant.ended == ["job"]
        assert gate.block.let_go("job") is not None
        gate.exchange(NOW_MS + 3)
        gate.exchange(NOW_MS + 4)
    assert book.view().accounts["scan"].released == 2
    for gate in (one, two):
        gate.exchange(NOW_MS + 60_000)
    assert units(book) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_a_gate_that_lets_go_of_a_job_is_reason_enough_for_the_other_to_do_so(first: int) -> None:
    book, *gates = in_two_blocks()
    lets_go, hears = gates[first], gates[1 - first]
    assert lets_go.block.let_go("job") is not None
    lets_go.exchange(NOW_MS + 1)
    hears.exchange(NOW_MS + 2)
    assert hears.block.grant is not None and hears.block.grant.ended == ["job"]
    assert hears.block.let_go("job") is not None
    hears.exchange(NOW_MS + 3)
    assert book.view().accounts["scan"].released == 2
    assert all(not lease.jobs and not lease.ended for lease in book.record.leases.values())


def test_a_job_whose_blocks_are_both_over_holds_one_permit_of_its_own() -> None:
    book, _, _ = in_two_blocks(max_hold_ms=600_000)
    late_ms = NOW_MS + LEASE_MS
    book.advance(late_ms)  # both processes were killed
    book.check_conservation()
    assert units(book) == 1
    assert (len(book.record.permits), book.view().accounts["scan"].released) == (1, 1)
    assert book.holders_to_check(late_ms, 10) == [("job", "w", "r")]
    book.reclaim("job", late_ms)
    book.check_conservation()
    assert (units(book), book.record.leases) == (0, {})


def test_a_job_of_one_block_that_is_over_and_one_that_is_not_leaves_nothing_behind() -> None:
    book, _, two = in_two_blocks(max_hold_ms=600_000)
    two.exchange(NOW_MS + 20_000)
    book.advance(NOW_MS + LEASE_MS)  # the first process was killed
    assert set(book.record.permits) == {"job"}
    assert two.block.let_go("job") is not None  # the second one sees the job end
    two.exchange(NOW_MS + LEASE_MS + 1)
    two.exchange(NOW_MS + LEASE_MS + 20_000)
    two.exchange(NOW_MS + LEASE_MS + 40_000)
    assert (units(book), book.record.permits, book.record.leases) == (0, {}, {})


def test_the_larger_hold_of_a_job_in_two_blocks_is_what_it_goes_on_with() -> None:
    book = ledger(max_active=10, max_hold_ms=600_000)
    hold(Gate(book, "one"), "job", NOW_MS, 1)
    hold(Gate(book, "two"), "job", NOW_MS, 3)
    book.advance(NOW_MS + LEASE_MS)
    book.check_conservation()
    assert units(book) == book.record.permits["job"].units == 3


def test_a_job_in_two_blocks_is_looked_after_for_as_long_as_one_has_it() -> None:
    book, _, two = in_two_blocks(max_hold_ms=600_000)
    assert book.holders_to_check(NOW_MS + 10_000, 10) == [("job", "w", "r")]
    two.block.let_go("job")
    two.exchange(NOW_MS + 10_001)
    assert book.next_check() == NOW_MS + 10_000


def test_a_permit_asked_for_twice_in_block_and_line_is_one_in_the_end() -> None:
    """Its first answer was lost, and the second process found the block used up."""
    book = ledger(max_active=1, max_hold_ms=600_000)
    gate = Gate(book)
    gate.want(1, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id="p", workflow_id="w", run_id="r"))
    gate.exchange(NOW_MS)
    again = Acquire(
        id="p",
        holder=Holder(workflow_id="w", run_id="r"),
        resource="scan",
        wait_until_ms=NOW_MS + 600_000,
    )
    reply = book.exchange(Exchange(gate="two", acquires=[again]), NOW_MS + 1)
    assert reply.decisions[0].outcome is Outcome.WAITING
    book.advance(NOW_MS + LEASE_MS)  # the first process was killed
    book.check_conservation()
    assert list(book.record.wakes) == ["p"]  # so it goes on with what it holds already
    assert (units(book), len(book.record.permits), len(book.record.waiters)) == (1, 1, 0)
    book.release("p", NOW_MS + LEASE_MS + 1)
    book.check_conservation()
    assert units(book) == 0


def test_a_permit_in_a_block_and_of_the_ledgers_own_comes_back_as_a_whole() -> None:
    book = ledger(max_active=4, max_hold_ms=600_000)
    again = Acquire(id="p", holder=Holder(workflow_id="w", run_id="r"), resource="scan")
    book.exchange(Exchange(gate="two", acquires=[again]), NOW_MS)
    gate = Gate(book)
    hold(gate, "p", NOW_MS)
    book.release("p", NOW_MS + 1)
    gate.exchange(NOW_MS + 2)
    assert gate.block.grant is not None and gate.block.grant.ended == ["p"]


def test_a_job_that_has_ended_needs_no_permit_when_its_block_is_over() -> None:
    """Its process was killed, and it has given its permit back elsewhere."""
    book = ledger(max_active=4, max_hold_ms=600_000)
    hold(Gate(book), "p", NOW_MS)
    book.release("p", NOW_MS + 1)
    book.advance(NOW_MS + LEASE_MS)
    book.check_conservation()
    assert (units(book), book.record.permits) == (0, {})
    assert book.view().accounts["scan"].released == 1


def test_a_gate_that_has_told_of_fewer_ends_than_there_were_breaks_nothing() -> None:
    """It tells of a limited number at a time, so the ledger may know of more jobs than uses."""
    book = ledger(max_active=1_000, max_hold_ms=600_000)
    gate = Gate(book)
    for n in range(2):
        gate.want(200, NOW_MS)
        for job in range(200):
            assert gate.block.take(1, NOW_MS / 1000)
            gate.block.hold(LeaseHolder(id=f"{n}-{job}", workflow_id="w"))
        gate.exchange(NOW_MS)
    for n in range(2):
        for job in range(200):
            gate.block.let_go(f"{n}-{job}")
    gate.exchange(NOW_MS + 1)  # then the process is killed
    book.advance(NOW_MS + 1 + LEASE_MS)
    assert len(book.record.permits) == 200
    book.check_conservation()
    for id in list(book.record.permits):
        book.reclaim(id, NOW_MS + 1 + LEASE_MS)
        book.check_conservation()
    assert units(book) == 0


def test_a_record_in_which_two_blocks_know_a_job_is_read() -> None:
    book, one, two = in_two_blocks(max_hold_ms=600_000)
    kind = TypeAdapter(LedgerRecord)
    carried = Ledger(kind.validate_json(kind.dump_json(book.record)), 10_000)
    one.ledger = two.ledger = carried
    carried.reclaim("job", NOW_MS + 1)
    for gate in (one, two):
        gate.exchange(NOW_MS + 2)
        assert gate.block.grant is not None and gate.block.grant.ended == ["job"]
        gate.block.let_go("job")
        gate.exchange(NOW_MS + 3)
    carried.advance(NOW_MS + LEASE_MS + 3)
    carried.check_conservation()
    assert units(carried) == 0


_IDS = ["a", "b", "c"]


def _any_ask(chance: Random, number: int) -> LeaseAsk:
    """Return an ask that any program could send: what it says need not be true."""
    in_use, uses = chance.randint(0, 4), chance.randint(0, 4)
    started = in_use + chance.randint(0, 4)
    holders = [
        LeaseHolder(id=chance.choice(_IDS), workflow_id="w", units=chance.randint(1, 3))
        for _ in range(chance.randint(0, 3))
    ]
    return LeaseAsk(
        resource=chance.choice(["scan", "mail"]),
        term=chance.randint(1, 2),
        number=number,
        wanted=chance.randint(0, 4),
        ceiling=in_use + chance.randint(0, 4),
        in_use=in_use,
        uses=uses,
        started=started,
        grants=uses + chance.randint(0, 4),
        starts=chance.randint(0, 4),
        starts_ceiling=started + chance.randint(0, 4),
        waiting=chance.randint(0, 4),
        hold_ms=chance.choice([0, 5_000, 60_000]),
        holders=holders,
        gone=[chance.choice(_IDS) for _ in range(chance.randint(0, 2))],
    )


def _say_anything(book: Ledger, chance: Random, number: int, now_ms: int) -> None:
    match chance.choice(["ask", "ask", "ask", "acquire", "release", "look"]):
        case "ask":
            ask = _any_ask(chance, chance.choice([1, number]))
            book.exchange(Exchange(gate=chance.choice(["g1", "g2"]), leases=[ask]), now_ms)
        case "acquire":
            acquire = Acquire(
                id=chance.choice(_IDS),
                holder=Holder(workflow_id="w"),
                resource="scan",
                units=chance.randint(1, 3),
                wait_until_ms=now_ms + chance.choice([0, 20_000, 90_000]),
            )
            book.exchange(Exchange(gate="g3", acquires=[acquire]), now_ms)
        case "release":
            book.release(chance.choice(_IDS), now_ms)
        case "look":
            for id, _, _ in book.holders_to_check(now_ms, 10):
                if chance.random() < 0.5:
                    book.reclaim(id, now_ms)


@pytest.mark.parametrize("is_thorough", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_no_message_whatsoever_breaks_a_ledger(is_thorough: bool, seed: int) -> None:
    """What breaks it would fail its workflow task, again and again."""
    for again in range(30):
        _live_through_anything(Random(30 * seed + again), is_thorough)


def _live_through_anything(chance: Random, is_thorough: bool) -> None:
    quota = Quota(max_active=5, rate="5/s", per_day=50, max_hold_ms=40_000)
    given = LedgerSettings(
        quotas={"scan": quota, "mail": Quota(max_hold_ms=40_000)}, source="listed"
    )
    book = Ledger.begin("acme", given, 1, 10_000)
    book.ways.is_thorough = is_thorough
    kind = TypeAdapter(LedgerRecord)
    now_ms = NOW_MS
    for number in range(1, chance.randint(2, 40)):
        now_ms += chance.choice([0, 0, 1, 1, 1_000, 12_000, 31_000, 61_000])
        if chance.random() < 0.1:
            book = Ledger(kind.validate_json(kind.dump_json(book.record)), 10_000)
            book.ways.is_thorough = is_thorough
        _say_anything(book, chance, number, now_ms)
        book.check_conservation()
        book.next_deadline()
        book.next_check()
        book.page()
    # And once nobody says anything any more, nothing stays behind.
    for _ in range(8):
        now_ms += 61_000
        book.advance(now_ms)
        book.check_conservation()
    assert (book.record.leases, book.record.permits) == ({}, {})
    assert all(meter.units == meter.held == 0 for meter in book.record.meters.values())


class _Call:
    def __init__(self, gate: Gate, ends_ms: int, job: str | None) -> None:
        self.gate, self.block, self.ends_ms, self.job = gate, gate.block, ends_ms, job


def _end(call: _Call, calls: list[_Call], book: Ledger, now_ms: int) -> None:
    calls.remove(call)
    if call.job is None:
        call.block.give(1)
        return
    elsewhere = [one for one in calls if one.job == call.job]
    for one in elsewhere:
        calls.remove(one)
    if call.block.let_go(call.job) is None or call.block.is_over or elsewhere:
        book.release(call.job, now_ms)


def test_a_block_that_is_over_for_its_gate_is_over_though_an_answer_that_got_lost_renewed_it() -> (
    None
):
    book = ledger(max_active=1, max_hold_ms=40_000)
    gate = Gate(book)
    gate.block.hold_ms = 39_000
    gate.want(1, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000, 39_000)
    gate.block.hold(LeaseHolder(id="job", workflow_id="job"))
    gate.exchange(NOW_MS + 15_000, lost=True)
    gate.block.end()  # it has not heard that it was renewed
    gate.exchange(NOW_MS + 30_000)
    assert units(book) == 1
    assert list(book.record.permits) == ["job"]
    other = Gate(book, "g2")
    other.want(1, NOW_MS + 31_000)
    assert other.block.units == 0


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_gets_lost_no_more_is_out_than_there_is(data: st.DataObject) -> None:
    """Gates with lost answers, repeats, pauses and kills, and jobs in several of them."""
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
        while (over := next((one for one in calls if one.ends_ms <= now_ms), None)) is not None:
            _end(over, calls, book, now_ms)
        book.advance(now_ms)
        n = data.draw(st.integers(0, len(gates) - 1))
        gate = gates[n]
        what = data.draw(st.sampled_from(["call", "call", "job", "ask", "lost", "twice", "kill"]))
        may_last_ms = 39_000 if what == "job" else hold_ms
        if what in ("call", "job"):
            gate.block.hold_ms = max(gate.block.hold_ms, may_last_ms)
        if what in ("call", "job") and gate.block.take(1, now_ms / 1000, may_last_ms):
            job = None
            ends_ms = now_ms + data.draw(st.integers(1, may_last_ms))
            if what == "job":
                here = {one.job for one in calls if one.gate is gate}
                others = [one for one in calls if one.job is not None and one.job not in here]
                job = f"{next(jobs)}"
                pick = data.draw(st.integers(0, 2 * len(others)))
                if pick < len(others):
                    job, ends_ms = others[pick].job, others[pick].ends_ms
                assert job is not None
                gate.block.hold(LeaseHolder(id=job, workflow_id=job))
            calls.append(_Call(gate, ends_ms, job))
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
        # A job that several gates count holds one permit, at least.
        out = sum(one.job is None for one in calls) + len({one.job for one in calls} - {None})
        assert out <= room
        assert units(book) >= out if "scan" in book.record.meters else not calls
    while calls:
        _end(calls[0], calls, book, now_ms)
    for _ in range(5):
        now_ms += 31_000
        for gate in gates:
            if gate.block.number and now_ms / 1000 >= gate.block.until_s:
                gate.block.end()
            if gate.block.number and not (gate.block.is_over and not gate.block.is_needed):
                gate.exchange(now_ms)
        book.advance(now_ms)
    assert book.record.leases == {}
    if "scan" in book.record.meters:
        assert units(book) == 0


@pytest.mark.parametrize("sees_silence", [True, False])
def test_what_a_killed_gate_wished_for_is_given_to_those_who_still_ask(sees_silence: bool) -> None:
    # False: as ledgers did that began before they saw it.
    given = LedgerSettings(quotas={"scan": Quota(max_active=10)}, source="listed")
    book = Ledger.begin("acme", given, 1, 10_000, ways=Ways(sees_silence=sees_silence))
    alive, killed = Gate(book), Gate(book, "killed")
    alive.want(10, NOW_MS)
    assert all(alive.block.take(1, NOW_MS / 1000) for _ in range(10))
    killed.want(5, NOW_MS)  # and is never heard of again
    for _ in range(10):
        alive.block.give(1)
    alive.want(15, NOW_MS + 2_000)
    assert alive.block.units == 5
    alive.want(15, NOW_MS + 5_999)
    assert alive.block.units == 5
    alive.want(15, NOW_MS + 6_000)
    assert alive.block.units == (10 if sees_silence else 5)
    assert units(book) == alive.block.units


def test_what_a_killed_gate_holds_counts_until_its_block_is_over() -> None:
    book = ledger(max_active=10)
    killed, alive = Gate(book, "killed"), Gate(book)
    killed.want(4, NOW_MS)
    alive.want(15, NOW_MS)
    assert (killed.block.units, alive.block.units) == (6, 4)
    killed.want(15, NOW_MS + 1)  # all that there is has been dealt out: it is to ask soon
    alive.want(15, NOW_MS + 10_000)
    assert (alive.block.units, units(book)) == (4, 10)


def test_a_gate_that_lacks_nothing_is_not_silent_because_it_asks_seldom() -> None:
    book = ledger(max_active=10)
    content, short = Gate(book, "content"), Gate(book)
    content.want(2, NOW_MS)
    assert content.block.take(2, NOW_MS / 1000)
    later_ms = NOW_MS + 19_000
    assert content.block.ask_at_s * 1000 > later_ms
    short.want(20, later_ms)
    assert short.block.units == 7  # what the other has, it keeps
    content.want(4, later_ms + 1)
    assert content.block.units == 3


def test_a_killed_gate_makes_its_tenant_want_no_more_of_a_pool() -> None:
    given = LedgerSettings(
        quotas={"scan": Quota(max_active=10)}, pools={"scan": "slots"}, source="listed"
    )
    book = Ledger.begin("acme", given, 1, 10_000)
    alive, killed = Gate(book), Gate(book, "killed")
    alive.want(1, NOW_MS)
    killed.want(5, NOW_MS)

    def wanted() -> int:
        (demand,) = book.demands()
        return demand.claims["scan"].wanted

    both = wanted()
    alive.want(1, NOW_MS + 6_000)
    assert wanted() == both - 7  # its five, and some more


def told(book: Ledger) -> list[tuple[str, Any]]:
    """Return the alerts that wait to be told: (kind, used)."""
    return [(one.kind, one.data.get("used")) for one in book.record.alerts]


@pytest.mark.parametrize("sees_idle", [True, False])
def test_nobody_is_alarmed_by_what_a_gate_holds_and_does_not_use(sees_idle: bool) -> None:
    quotas = {"scan": Quota(max_active=2)}
    given = LedgerSettings(quotas=quotas, source="listed", alerts=AlertRules())
    book = Ledger.begin("acme", given, 1, 10_000)
    book.ways.sees_idle = sees_idle  # False: as ledgers did that began before they saw it
    gate = Gate(book)
    gate.want(1, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000)
    gate.exchange(NOW_MS + 1_000)
    assert (units(book), book.view().leased) == (2, {"scan": 1})
    assert told(book) == ([] if sees_idle else [("quota.threshold", 2)])
    assert gate.block.take(1, NOW_MS / 1000)
    gate.exchange(NOW_MS + 2_000)
    assert told(book) == [("quota.threshold", 2)]


def test_what_waits_at_a_gate_uses_what_the_gate_is_given_before_it_says_so() -> None:
    book = ledger(max_active=4)
    Gate(book).want(4, NOW_MS)
    assert (units(book), book.view().leased) == (4, {})


def test_a_limit_may_be_lowered_to_what_is_used_of_what_gates_hold() -> None:
    book = ledger(max_active=4)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000)
    gate.exchange(NOW_MS + 1_000)
    held = units(book)
    assert held > 1
    lower = LedgerSettings(quotas={"scan": Quota(max_active=1)}, source="listed")
    assert book.below_usage(lower) == []
    assert book.below_usage(lower.model_copy(update={"quotas": {"scan": Quota(max_active=0)}})) == [
        "max_active of scan of acme would be 0, but 1 are held, so that under it nothing would be "
        "granted until enough has come back"
    ]
    action = SetOverride(
        resource="scan",
        changes=QuotaChanges(max_active=1),
        ends_at_ms=NOW_MS + 60_000,
    )
    command = LedgerCommand(id="c1", actor="ann", reason="less", action=action)
    assert book.operate(command, NOW_MS + 1_000).accepted


def test_a_job_is_known_to_hold_what_it_has_out_of_a_block_or_by_itself_until_it_ends() -> None:
    book = ledger(max_active=4)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    ids = ["run-1/scan", "run-2/scan"]
    assert book.held(ids) == []
    assert gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id=ids[0], workflow_id="job-1", run_id="run-1", units=1))
    gate.exchange(NOW_MS + 1_000)
    assert book.held(ids) == ids[:1]
    over_ms = NOW_MS + 1_000 + LEASE_MS
    book.advance(over_ms)
    assert [*book.record.permits] == book.held(ids) == ids[:1]
    book.release(ids[0], over_ms)
    assert book.held(ids) == []


def test_a_job_that_has_ended_elsewhere_holds_nothing_though_its_gate_has_yet_to_hear_of_it() -> (
    None
):
    book = ledger(max_active=4)
    gate = Gate(book)
    gate.want(2, NOW_MS)
    assert gate.block.take(1, NOW_MS / 1000)
    gate.block.hold(LeaseHolder(id="run-1/scan", workflow_id="job-1", run_id="run-1", units=1))
    gate.exchange(NOW_MS + 1_000)
    book.release("run-1/scan", NOW_MS + 2_000)
    assert book.held(["run-1/scan"]) == []


def test_of_a_block_that_is_over_the_jobs_count_that_no_message_had_room_for() -> None:
    book = ledger(max_active=1_000)
    gate = Gate(book)
    gate.block.hold_ms = 60_000
    gate.want(300, NOW_MS)
    for number in range(300):
        assert gate.block.take(1, NOW_MS / 1000)
        id = f"run-{number}/scan"
        gate.block.hold(LeaseHolder(id=id, workflow_id=f"job-{number}", run_id="r", units=1))
    gate.block.end()
    gate.exchange(NOW_MS + 1_000)
    assert (len(book.record.permits), units(book)) == (200, 300)
    gate.exchange(NOW_MS + 1_100)
    assert (len(book.record.permits), units(book)) == (300, 300)
    assert book.record.leases == {}
