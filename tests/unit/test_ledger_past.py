"""What a ledger remembers of requests that are over: enough for every repeat, and never much."""

import json
from typing import Any
from uuid import UUID

import pytest

from headgate.model.ledger import Acquire, Exchange, Holder, Outcome
from headgate.model.reason import ReasonCode
from headgate.packed import PACKED_FROM, pack, unpack
from headgate.quota import Ledger
from headgate.quota.past import (
    MAX_DENIALS_KEPT,
    MAX_ENDED_KEPT,
    MAX_GATES_KEPT,
    REMEMBERED_MS,
)
from tests.unit.ledgers import DENIED, GRANTED, NOW_MS, RECORD, acquire, ask, code, make


def exchange(
    ledger: Ledger, number: int, *asks: str, releases: tuple[str, ...] = (), gate: str = "g"
) -> list[Outcome]:
    message = Exchange(
        gate=gate, number=number, acquires=[acquire(id) for id in asks], releases=list(releases)
    )
    return [decision.outcome for decision in ledger.exchange(message, NOW_MS).decisions]


def continued(ledger: Ledger) -> Ledger:
    """The ledger after a continue-as-new."""
    return Ledger(RECORD.validate_json(unpack(pack(RECORD.dump_json(ledger.record).decode()))))


def uuid(number: int) -> str:
    """An id that looks as random as those of jobs, and compresses as badly."""
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def test_what_it_keeps_of_its_past_is_bounded_in_number() -> None:
    ledger = make(max_active=1)
    for nth in range(MAX_ENDED_KEPT + 100):
        ask(ledger, f"a{nth}")
        ask(ledger, f"b{nth}")
        ledger.release(f"a{nth}", NOW_MS)
    assert MAX_ENDED_KEPT // 2 <= len(ledger.record.ended) <= MAX_ENDED_KEPT
    assert MAX_DENIALS_KEPT // 2 <= len(ledger.record.denied) <= MAX_DENIALS_KEPT
    assert code(ask(ledger, f"a{nth}")) is ReasonCode.WAITED_TOO_LONG
    assert code(ask(ledger, f"b{nth}")) is ReasonCode.QUOTA_USED_UP
    for number in range(MAX_GATES_KEPT + 50):
        exchange(ledger, 1, gate=f"gate-{number}")
    assert len(ledger.record.gates) == MAX_GATES_KEPT


@pytest.mark.parametrize("age_ms", [REMEMBERED_MS - 1, 2 * REMEMBERED_MS])
def test_what_it_keeps_of_its_past_is_bounded_in_time(age_ms: int) -> None:
    ledger = make(max_active=1)
    for id, other in (("a", "b"), ("c", "d")):
        ask(ledger, id)
        ask(ledger, other)
        ledger.release(id, NOW_MS)
    later_ms = NOW_MS + age_ms
    exchanged = Exchange(gate="late", number=1)
    ledger.exchange(exchanged, later_ms)
    ask(ledger, "e", now_ms=later_ms)
    ask(ledger, "f", now_ms=later_ms)
    ledger.release("e", later_ms)
    remembered = 2 if age_ms < REMEMBERED_MS else 0
    assert len(ledger.record.ended) == len(ledger.record.denied) == 1 + remembered


def test_an_exchange_that_comes_again_grants_nothing_new() -> None:
    ledger = make(max_active=2)
    assert exchange(ledger, 1, "a") == [GRANTED]
    assert exchange(ledger, 2, "b", releases=("a",)) == [GRANTED]
    ledger.record.ended.recent.clear()  # as if so many had ended since
    # The first one again, after all, and one that got lost on the way and was given up.
    assert exchange(ledger, 1, "a") == [DENIED]
    assert exchange(ledger, 2, "b", "never-arrived", releases=("a",)) == [GRANTED, DENIED]
    assert set(ledger.record.permits) == {"b"}
    assert ledger.record.meters["scan"].released == 1
    # Who asked may ask anew, under the same id; other gates have numbers of their own.
    assert exchange(ledger, 3, "never-arrived") == [GRANTED]
    assert exchange(ledger, 1, "c", gate="h") == [DENIED]
    assert exchange(ledger, 2, "c", gate="h") == [DENIED]
    ledger.check_conservation()


def test_a_repeat_is_known_after_a_continue_as_new() -> None:
    ledger = make(max_active=1)
    exchange(ledger, 1, "a", "b")
    exchange(ledger, 2, releases=("a",))
    ledger = continued(ledger)
    assert exchange(ledger, 1, "a", "b", "c") == [DENIED] * 3
    assert exchange(ledger, 2, releases=("a",)) == []
    assert exchange(ledger, 3, "d") == [GRANTED]
    assert ledger.record.meters["scan"].released == 1
    ledger.check_conservation()


def old_form(record: dict[str, Any]) -> dict[str, Any]:
    """A record as the first histories have it."""
    for key in ("ended", "denied", "gates"):
        del record[key]
    return record


def test_a_record_of_the_old_form_is_taken() -> None:
    ledger = make(max_active=1)
    ask(ledger, "held")
    denial = ask(ledger, "denied")
    record = old_form(json.loads(RECORD.dump_json(ledger.record)))
    record["resolved"] = {"over": "released", "late": "expired"}
    record["denials"] = {"denied": denial.model_dump(mode="json")}
    ledger = Ledger(RECORD.validate_python(record))
    assert ask(ledger, "denied") == denial
    assert code(ask(ledger, "over")) is ReasonCode.WAITED_TOO_LONG
    assert ask(ledger, "held").outcome is GRANTED
    ledger.release("late", NOW_MS + REMEMBERED_MS)
    assert len(ledger.record.ended) == 2
    assert ledger.record.resolved == {}
    assert ledger.record.denials == {}


def test_what_is_carried_stays_small_under_full_load() -> None:
    """Eight gates with 100 permits each, and as much to remember as there may be."""
    ledger = make(max_active=800)
    held: list[list[str]] = [[] for _ in range(8)]
    sizes, ended, denied = [], [], []
    for turn in range(12):
        for gate in range(8):
            # Of 110 that are asked for, 10 are denied.
            numbers = range(110 * (8 * turn + gate), 110 * (8 * turn + gate + 1))
            message = Exchange(
                gate=f"gate-{gate}",
                number=turn,
                releases=held[gate],
                acquires=[
                    Acquire(
                        id=uuid(number),
                        holder=Holder(workflow_id=f"job-{uuid(-number)}", run_id=uuid(number**3)),
                        resource="scan",
                    )
                    for number in numbers
                ],
            )
            decisions = ledger.exchange(message, NOW_MS + turn).decisions
            held[gate] = [one.id for one in decisions if one.outcome is GRANTED]
            state = RECORD.dump_json(ledger.record).decode()
            assert unpack(pack(state)) == state
            sizes.append(len(pack(state)))
            ended.append(len(ledger.record.ended))
            denied.append(len(ledger.record.denied))
    assert len(ledger.record.permits) == 800
    assert max(ended) > 0.9 * MAX_ENDED_KEPT
    assert max(denied) > 0.9 * MAX_DENIALS_KEPT
    assert max(sizes) < 128 * 1024


def test_what_is_short_stays_readable() -> None:
    assert pack("{}") == unpack("{}") == "{}"
    long = '"' + "ü" * PACKED_FROM + '"'
    assert len(pack(long)) < len(long) // 50
    assert unpack(pack(long)) == long
