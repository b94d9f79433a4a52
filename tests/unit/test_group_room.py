"""Who waits for room in its group keeps nobody waiting who is not in it."""

from collections.abc import Sequence

import pytest

from headgate.allocation.group_room import reachable
from headgate.allocation.places import Place
from headgate.model.pool import GroupShare, Strategy
from headgate.model.quota import Quota
from tests.unit.pools import PoolOfLedgers

QUOTAS = {"a": Quota(), "c": Quota(guaranteed=4), "d": Quota(guaranteed=3)}
IN_DEP = {"a": "dep", "c": "dep"}


def pool(strategy: Strategy, **dep: int) -> PoolOfLedgers:
    """13 units; ``a`` holds the 10 that its group may have, and ``c`` wants 4 of these at once."""
    made = PoolOfLedgers(
        13, QUOTAS, IN_DEP, strategy=strategy, groups={"dep": GroupShare.model_validate(dep)}
    )
    made.ask("a", 12)
    made.wait(2_000)
    assert made.held("a") == 10
    made.ask("c", units=4)
    made.wait(1_000)
    return made


@pytest.mark.parametrize(
    ("strategy", "dep"),
    [
        (Strategy.RESERVED, {"guaranteed": 4, "borrow_limit": 6}),
        (Strategy.PROPORTIONAL, {"maximum": 10}),
    ],
)
def test_a_full_group_does_not_keep_what_is_free_from_others(
    strategy: Strategy, dep: dict[str, int]
) -> None:
    made = pool(strategy, **dep)
    made.ask("d", 5)
    made.wait(2_000)
    assert (made.held("a"), made.held("c"), made.held("d")) == (10, 0, 3)
    made.give_back("a", 3)
    made.wait(2_000)
    assert made.held("c") == 0, "three are no use to it"
    assert made.held("a") == 7, "and nobody of its group passes it"
    made.give_back("a", 3)
    made.wait(2_000)
    assert (made.held("a"), made.held("c"), made.held("d")) == (4, 4, 5), "each has its share"


def test_what_comes_back_to_a_full_group_is_not_for_others_while_they_have_their_share() -> None:
    made = pool(Strategy.RESERVED, guaranteed=4, borrow_limit=6)
    made.ask("d", 9)
    made.wait(2_000)
    made.give_back("a", 4)
    made.wait(2_000)
    assert (made.held("c"), made.held("d")) == (4, 3)


def place(lacks: int, ceiling: int = 0, first: int = 0, raised_at_ms: int = 0) -> Place:
    return Place(
        wanted=ceiling + lacks,
        target=ceiling + lacks,
        allocated=ceiling,
        ceiling=ceiling,
        owed=0,
        may_cut=True,
        first=first,
        raised_at_ms=raised_at_ms,
    )


def found(places: dict[str, Place], *groups: tuple[int, Sequence[str]]) -> dict[str, int]:
    lacking = {name: one.target - one.ceiling for name, one in places.items()}
    return reachable(lacking, places, groups)


def test_who_is_in_no_limited_group_lacks_what_it_lacks() -> None:
    places = {"a": place(3, ceiling=4), "b": place(5)}
    assert found(places, (4, ["a"])) == {"b": 5}
    assert found(places) == {"a": 3, "b": 5}


def test_room_goes_first_to_the_next_job_of_each_in_turn() -> None:
    places = {"a": place(6, first=1), "b": place(6, first=1, raised_at_ms=1)}
    assert found(places, (8, ["a", "b"])) == {"a": 6, "b": 2}
    assert found(places, (2, ["a", "b"])) == {"a": 1, "b": 1}


def test_nobody_of_the_group_passes_one_whose_job_does_not_fit_yet() -> None:
    places = {"a": place(6, first=6), "b": place(6, first=1, raised_at_ms=1), "c": place(2)}
    assert found(places, (5, ["a", "b"])) == {"c": 2}
    assert found(places, (7, ["a", "b"])) == {"a": 6, "b": 1, "c": 2}


def test_a_group_within_a_group_has_the_room_that_both_have() -> None:
    places = {"a": place(6), "b": place(6, raised_at_ms=1)}
    inner, outer = (9, ["a"]), (4, ["a", "b"])
    assert found(places, inner, outer) == {"a": 4}
    assert found(places, (3, ["a"]), outer) == {"a": 3, "b": 1}


def test_a_group_that_has_more_than_it_may_has_no_room() -> None:
    places = {"a": place(2, ceiling=9), "b": place(2)}
    assert found(places, (5, ["a", "b"])) == {}
