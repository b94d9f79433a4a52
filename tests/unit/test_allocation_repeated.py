"""Dividing again gives what ``divide`` gives; what comes back serves one job after the other."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headgate.allocation import Claim, Group, Strategy, divide
from headgate.allocation.places import Place, Places
from headgate.allocation.repeated import RepeatedDivision
from headgate.allocation.rounds import step
from headgate.model.pool import Damping

CALM = Damping()
GROUPS = (Group("g", guaranteed=2, maximum=9), Group("h", parent="g", lend_limit=1))

claims = st.lists(
    st.builds(
        Claim,
        tenant=st.sampled_from("abcdef"),
        demand=st.integers(0, 12),
        weight=st.sampled_from([0, 1, 2, 0.5]),
        priority=st.integers(0, 1),
        guaranteed=st.integers(0, 5),
        borrow_limit=st.none() | st.integers(0, 5),
        lend_limit=st.none() | st.integers(0, 3),
        maximum=st.none() | st.integers(0, 10),
        fixed=st.none() | st.integers(0, 6),
        group=st.sampled_from([None, "g", "h"]),
    ),
    max_size=6,
    unique_by=lambda claim: claim.tenant,
).map(lambda found: sorted(found, key=lambda claim: claim.tenant))


@given(
    first=claims,
    capacity=st.integers(0, 25),
    strategy=st.sampled_from(list(Strategy)),
    demands=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=12),
)
def test_however_demands_change_the_answer_is_that_of_divide(
    first: list[Claim], capacity: int, strategy: Strategy, demands: list[tuple[int, int]]
) -> None:
    repeated = RepeatedDivision()
    now = first
    for number, demand in [(0, 0), *demands]:
        if number < len(now):
            now = list(now)
            now[number] = replace(now[number], demand=demand)
        assert repeated.divide(capacity, strategy, now, GROUPS) == divide(
            capacity, strategy, now, GROUPS
        )


@given(
    first=claims,
    capacity=st.integers(0, 25),
    strategy=st.sampled_from(list(Strategy)),
    demands=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=12),
)
def test_who_says_that_only_demands_are_new_gets_the_same(
    first: list[Claim], capacity: int, strategy: Strategy, demands: list[tuple[int, int]]
) -> None:
    repeated = RepeatedDivision()
    now = [replace(claim, group=None) for claim in first]
    for number, demand in [(0, 0), *demands]:
        if number < len(now):
            now = list(now)
            now[number] = replace(now[number], demand=demand)
        assert repeated.divide(capacity, strategy, now, (), rights=1) == divide(
            capacity, strategy, now
        )


@given(
    asked=claims,
    capacity=st.integers(0, 25),
    strategy=st.sampled_from(list(Strategy)),
    scale=st.booleans(),
)
def test_a_pool_without_groups_is_divided_like_one_whose_groups_are_empty(
    asked: list[Claim], capacity: int, strategy: Strategy, scale: bool
) -> None:
    asked = [replace(claim, group=None) for claim in asked]
    assert divide(capacity, strategy, asked, scale=scale) == divide(
        capacity, strategy, asked, (Group("empty"),), scale=scale
    )


places = st.builds(
    Place,
    wanted=st.integers(0, 9),
    target=st.integers(0, 9),
    allocated=st.integers(0, 9),
    ceiling=st.integers(0, 9),
    owed=st.integers(0, 4),
    may_cut=st.booleans(),
    first=st.integers(0, 9),
    raised_at_ms=st.integers(0, 3),
    held=st.integers(0, 9),
).map(
    lambda one: one._replace(
        ceiling=max(one.ceiling, one.allocated, one.held), held=min(one.held, 9)
    )
)


@given(
    puts=st.lists(st.tuples(st.sampled_from("abcdef"), places), max_size=30),
    capacity=st.integers(0, 40),
)
def test_places_that_change_one_by_one_are_those_that_they_have_come_to_be(
    puts: list[tuple[str, Place]], capacity: int
) -> None:
    changing = Places()
    for tenant, place in puts:
        changing.put(tenant, place)
    at_once = Places(dict(puts))
    for name in Places.__slots__:
        assert getattr(changing, name) == getattr(at_once, name)
    assert step(capacity, changing, CALM) == step(capacity, at_once, CALM)


def lacking(target: int, first: int, raised_at_ms: int, allocated: int = 0) -> Place:
    return Place(target, target, allocated, allocated, 0, True, first, raised_at_ms)


def test_what_comes_back_goes_to_one_job_after_the_other() -> None:
    places = {
        "a": lacking(8, 8, 30),
        "b": lacking(4, 4, 10),
        "c": lacking(4, 4, 20),
        "full": lacking(0, 0, 0, allocated=11),
    }
    # In parts of 2, 1 and 1 nobody could begin; b was given nothing for longest.
    assert step(15, Places(places), CALM).allocated["b"] == 4
    assert step(15, Places(places), CALM).allocated.keys() & {"a", "c"} == set()


def test_nobody_passes_the_one_whose_job_is_too_large_for_what_is_free() -> None:
    places = {
        "large": lacking(8, 8, 10),
        "small": lacking(2, 2, 20),
        "full": Place(10, 8, 8, 8, 0, False),
    }
    assert "small" not in step(15, Places(places), CALM).allocated
    assert step(16, Places(places), CALM).allocated["large"] == 8


def test_a_guarantee_comes_before_who_waited_longer() -> None:
    places = {
        "waits": lacking(4, 4, 0),
        "owed": Place(4, 4, 0, 0, 4, True, 4, 99),
        "full": Place(8, 8, 8, 8, 0, False),
    }
    assert step(12, Places(places), CALM).allocated == {"owed": 4}


def test_what_lies_idle_is_not_left_so_because_something_else_was_to_come_back() -> None:
    idle = Place(0, 0, 1, 1, 0, True)
    lacking = Place(1, 1, 0, 0, 0, True, 1)
    # The one was to give its unit back, but now it is to keep it.
    keeping = Place(2, 1, 0, 1, 0, True, 2, held=1)
    taken = step(2, Places({"idle": idle, "keeping": keeping, "lacking": lacking}), CALM)
    assert taken.allocated == {"idle": 0, "keeping": 1}
    # It gives it back when its job ends: nobody knows when that is.
    running = Place(1, 0, 0, 1, 0, True, held=1)
    taken = step(2, Places({"idle": idle, "running": running, "lacking": lacking}), CALM)
    assert taken.allocated == {"idle": 0}
    # What is used is left alone while enough is on its way.
    used = Place(1, 0, 1, 1, 0, True, held=1)
    taken = step(2, Places({"used": used, "running": running, "lacking": lacking}), CALM)
    assert taken.allocated == {}
