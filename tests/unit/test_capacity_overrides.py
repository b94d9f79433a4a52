"""Capacities that people set one over the other: the longer one is back when the other ends."""

from typing import Any

import pytest

from headgate.allocation.governor import Governor
from headgate.allocation.operator import MAX_SET, obey
from headgate.allocation.ways import Ways
from headgate.model.pool import PoolCommand, PoolSettings

NOW_MS = 1_700_000_000_000  # 22:13:20 UTC
MINUTE_MS = 60_000


def governor(ways: Ways | None = None, **capacity: int) -> Governor:
    settings = PoolSettings(capacity=capacity or {"p6": 10}, source="listed")
    return Governor.begin("pool6", settings, 1, ways)


def tell(
    pool: Governor, now_ms: int = NOW_MS, actor: str = "ada", reason: str = "month end", **what: Any
) -> str:
    action = "throttle" if "share" in what else "set_capacity" if "capacity" in what else "resume"
    id = f"c-{len(pool.record.commands)}"
    return obey(pool, PoolCommand(id=id, action=action, actor=actor, reason=reason, **what), now_ms)


def test_what_holds_longer_is_back_when_the_shorter_ends() -> None:
    pool = governor()
    assert tell(pool, capacity={"p6": 30}, for_ms=10 * MINUTE_MS) == ""
    said = tell(pool, actor="bob", capacity={"p6": 8}, for_ms=20_000)
    ada = "what ada set at 22:13 UTC (p6: 30 until 22:23 UTC): month end"
    assert said == f"it lies over {ada}"
    assert pool.capacity() == {"p6": 8}
    view = pool.view()
    assert [one.capacity["p6"] for one in view.set_by_people] == [30, 8]
    pool.advance(NOW_MS + 1_000)
    assert pool.next_deadline() == NOW_MS + 20_000
    pool.advance(NOW_MS + 20_000)
    assert pool.capacity() == {"p6": 30}
    pool.advance(NOW_MS + 10 * MINUTE_MS)
    assert (pool.capacity(), pool.record.set_by_people) == ({"p6": 10}, [])
    ended = [one for one in pool.record.audit if one.action == "capacity_ended"]
    assert [(one.before, one.after) for one in ended] == [
        ({"capacity": {"p6": 8}}, {"capacity": {"p6": 30}}),
        ({"capacity": {"p6": 30}}, {"capacity": {"p6": 10}}),
    ]


def test_what_lies_beneath_may_end_first() -> None:
    pool = governor()
    tell(pool, capacity={"p6": 30}, for_ms=10 * MINUTE_MS)
    said = tell(pool, actor="bob", share=0.5, for_ms=20 * MINUTE_MS)
    assert said.startswith("that is 50% of 30 p6; it lies over what ada set")
    assert pool.capacity() == {"p6": 15}
    pool.advance(NOW_MS + 10 * MINUTE_MS)
    assert pool.capacity() == {"p6": 5}, "a cut is of what lies beneath it"
    pool.advance(NOW_MS + 20 * MINUTE_MS)
    assert pool.capacity() == {"p6": 10}


@pytest.mark.parametrize("ways", [Ways(), Ways(stacks=False)])
def test_what_holds_no_longer_than_that_is_replaced_and_this_is_said(ways: Ways) -> None:
    pool = governor(ways)
    tell(pool, capacity={"p6": 30}, for_ms=MINUTE_MS)
    said = tell(pool, actor="bob", capacity={"p6": 8}, for_ms=10 * MINUTE_MS)
    assert said == (
        "it takes the place of what ada set at 22:13 UTC (p6: 30 until 22:14 UTC): month end"
    )
    assert [one.actor for one in pool.record.set_by_people] == ["bob"]
    (ended,) = pool.record.audit[-1].before["ended"]
    assert (ended["actor"], ended["capacity"], ended["until_ms"]) == (
        "ada",
        {"p6": 30},
        NOW_MS + MINUTE_MS,
    )


def test_runs_that_began_before_replace_what_is_set_and_say_so() -> None:
    pool = governor(Ways(stacks=False))
    tell(pool, capacity={"p6": 30})
    said = tell(pool, share=0.5, for_ms=20_000)
    assert said == (
        "that is 50% of 10 p6; it takes the place of what ada set at 22:13 UTC "
        "(p6: 30 until resume): month end"
    )
    assert pool.capacity() == {"p6": 5}
    pool.advance(NOW_MS + 20_000)
    assert pool.capacity() == {"p6": 10}


def test_a_number_counts_as_it_is_said_and_of_several_cuts_the_last() -> None:
    pool = governor(a=10, b=20)
    tell(pool, share=0.5)
    tell(pool, capacity={"a": 8}, for_ms=5 * MINUTE_MS)
    assert pool.capacity() == {"a": 8, "b": 10}
    tell(pool, share=0.25, for_ms=MINUTE_MS)
    assert pool.capacity() == {"a": 2, "b": 5}
    tell(pool, capacity={"b": 7}, for_ms=30_000)
    assert pool.capacity() == {"a": 2, "b": 7}
    pool.advance(NOW_MS + MINUTE_MS)
    assert pool.capacity() == {"a": 8, "b": 10}


def test_resume_ends_all_of_it_and_names_it() -> None:
    pool = governor()
    tell(pool, capacity={"p6": 30})
    tell(pool, actor="bob", capacity={"p6": 8}, for_ms=MINUTE_MS)
    said = tell(pool)
    assert said.startswith("it ends what ada set at") and "; what bob set at" in said
    assert (pool.capacity(), pool.view().set_by_people) == ({"p6": 10}, [])
    assert len(pool.record.audit[-1].before["ended"]) == 2


def test_no_more_is_set_than_anybody_could_follow() -> None:
    pool = governor()
    for number in range(MAX_SET):
        tell(pool, capacity={"p6": number}, for_ms=(MAX_SET - number) * MINUTE_MS)
    with pytest.raises(ValueError, match="headgate pool resume pool6 ends them"):
        tell(pool, capacity={"p6": 1}, for_ms=1_000)
    tell(pool)
    assert tell(pool, capacity={"p6": 1}, for_ms=1_000) == ""
