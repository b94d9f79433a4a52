"""Gates take turns at a busy ledger: never more at once than Temporal's server bears."""

import pytest

from headgate.model.ledger import Turn
from headgate.quota.past import GateMark
from headgate.quota.turns import FREE, Turns

T0 = 1_700_000_000_000


def come(turns: Turns, gates: int, took_ms: int, now_ms: int) -> None:
    for gate in range(gates):
        turns.next(f"g{gate:02}", gates, took_ms, now_ms)


def is_now(turn: Turn, now_ms: int) -> bool:
    return (now_ms - turn.begins_ms) % turn.frame_ms < turn.lasts_ms


def whose_turn(turns: Turns, gates: int, now_ms: int) -> list[int]:
    """Whose turn it is by what they were told at T0."""
    found = []
    for gate in range(gates):
        turn = turns.of(f"g{gate:02}", gates, T0)
        if not turn.lasts_ms or is_now(turn, now_ms):
            found.append(gate)
    return found


@pytest.mark.parametrize("took_ms", [0, 20, 5_000])
def test_a_few_gates_come_at_any_time(took_ms: int) -> None:
    turns = Turns({}, {})
    come(turns, FREE, took_ms, T0)
    assert all(turns.of(f"g{gate:02}", FREE, T0).frame_ms == 0 for gate in range(FREE))


@pytest.mark.parametrize("gates", [9, 20, 50, 137])
def test_of_many_a_few_at_a_time_and_each_in_its_turn(gates: int) -> None:
    turns = Turns({}, {})
    come(turns, gates, 50, T0)
    frame_ms = turns.of("g00", gates, T0).frame_ms
    seen: set[int] = set()
    for now_ms in range(T0, T0 + frame_ms, 50):
        now = whose_turn(turns, gates, now_ms)
        assert 1 <= len(now) <= 6
        seen.update(now)
    assert seen == set(range(gates))


def test_when_little_is_asked_nobody_waits_for_a_turn() -> None:
    turns = Turns({}, {})
    for second in range(10):
        come(turns, 20, 20, T0 + second * 1_000)  # 0.4 in flight on an average
    turn = turns.next("g00", 20, 20, T0 + 10_000)
    assert turn.lasts_ms == 0
    assert 0 < turn.frame_ms < 500  # only those that wake up together are spread out


def test_under_load_turns_come_back_and_stay_until_it_is_over() -> None:
    turns = Turns({}, {})
    come(turns, 20, 20, T0)
    come(turns, 20, 20, T0 + 3_500)
    assert turns.of("g00", 20, T0 + 3_500).lasts_ms == 0
    come(turns, 20, 250, T0 + 3_600)  # five seconds of exchanges within one
    assert turns.of("g00", 20, T0 + 3_600).lasts_ms > 0
    come(turns, 20, 10, T0 + 6_000)
    assert turns.of("g00", 20, T0 + 6_000).lasts_ms == 0


def test_who_says_hello_is_counted_before_its_first_exchange() -> None:
    turns = Turns({}, {})
    for gate in range(20):
        turns.hello(f"g{gate:02}", T0)
    assert len(whose_turn(turns, 20, T0)) <= 6


def test_who_has_gone_leaves_no_gap() -> None:
    turns = Turns({}, {})
    come(turns, 40, 50, T0)
    long = turns.of("g00", 40, T0).frame_ms
    come(turns, 10, 200, T0 + 5_000)
    come(turns, 10, 200, T0 + 5_100)
    come(turns, 10, 200, T0 + 5_200)
    assert turns.of("g00", 10, T0 + 5_200).frame_ms < long


def test_a_new_run_knows_who_was_there() -> None:
    places: dict[str, int] = {}
    turns = Turns({}, places)
    come(turns, 20, 50, T0 - 20)
    told = [turns.of(f"g{gate:02}", 20, T0) for gate in range(20)]
    marks = {f"g{gate:02}": GateMark(1, T0 - 20 + gate) for gate in range(20)}
    again = Turns(marks, dict(places))
    again.next("g07", 20, 50, T0)
    assert [again.of(f"g{gate:02}", 20, T0) for gate in range(20)] == told


@pytest.mark.parametrize(("before", "after"), [(9, 12), (12, 20), (20, 25), (48, 50), (96, 190)])
def test_who_still_goes_by_the_turns_of_before_makes_no_crowd(before: int, after: int) -> None:
    turns = Turns({}, {})
    come(turns, before, 50, T0)
    old = [turns.of(f"g{gate:02}", before, T0) for gate in range(before)]
    come(turns, after, 50, T0 + 1)
    new = [turns.of(f"g{gate:02}", after, T0 + 1) for gate in range(after)]
    added = new[before:]
    for now_ms in range(T0, T0 + new[0].frame_ms, 10):
        still_old = sum(is_now(turn, now_ms) for turn in old)
        assert still_old <= 6
        # Any of those of before may have heard already; then it comes when it did, or not at all.
        for was, is_ in zip(old, new, strict=False):
            assert is_now(was, now_ms) or not is_now(is_, now_ms)
        assert sum(is_now(turn, now_ms) for turn in added) <= 6


def test_after_a_goodbye_no_turn_is_kept() -> None:
    turns = Turns({}, {})
    come(turns, 40, 50, T0)
    long = turns.of("g00", 40, T0).frame_ms
    for gate in range(30):
        turns.goodbye(f"g{gate:02}")
    assert turns.of("g35", 10, T0).frame_ms < long
    for gate in range(30, 39):
        turns.goodbye(f"g{gate:02}")
    turns.goodbye("never came")
    assert turns.of("g39", 1, T0).frame_ms == 0
