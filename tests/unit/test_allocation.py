"""What each strategy means, and what groups do."""

import random
from dataclasses import replace
from typing import Any

import pytest

from headgate.allocation import Claim, Division, Group, Strategy, divide

GUARANTEEING = (Strategy.RESERVED, Strategy.PRIORITY)


def types(division: Division) -> list[str]:
    return [condition.type for condition in division.conditions]


def gets(capacity: int, strategy: str, *claims: Claim, groups: Any = ()) -> list[int]:
    return list(divide(capacity, Strategy(strategy), claims, groups).allocations.values())


def test_equal_ignores_weights_and_guarantees() -> None:
    a, b = Claim("a", 99, weight=9, guaranteed=80), Claim("b", 99, weight=0.1)
    assert gets(100, "equal", a, b) == [50, 50]


def test_proportional_goes_by_weight_up_to_demand_and_maximum() -> None:
    a, b, c = Claim("a", 99, weight=3), Claim("b", 99), Claim("c", 99, weight=8, maximum=20)
    assert gets(100, "proportional", a, b, c) == [60, 20, 20]


def test_reserved_serves_guarantees_first_and_lends_what_is_unused() -> None:
    a = Claim("a", 99, guaranteed=60)
    assert gets(100, "reserved", a, Claim("b", 99)) == [80, 20]
    assert gets(100, "reserved", a, Claim("b", 99, weight=3)) == [70, 30]
    assert gets(100, "reserved", Claim("a", 10, guaranteed=60), Claim("b", 99)) == [10, 90]


def test_a_borrow_limit_holds_even_when_capacity_is_left() -> None:
    division = divide(100, Strategy.RESERVED, [Claim("a", 99, guaranteed=20, borrow_limit=5)])
    assert (division.allocations, division.unallocated) == ({"a": 25}, 75)


@pytest.mark.parametrize("strategy", GUARANTEEING)
def test_what_is_not_lent_is_held_back(strategy: Strategy) -> None:
    claims = [Claim("a", 10, guaranteed=50, lend_limit=15), Claim("b", 999)]
    division = divide(100, strategy, claims)
    assert division.allocations == {"a": 10, "b": 65}
    assert (division.held_back, division.unallocated) == ({"a": 25}, 25)


def test_guarantees_above_the_capacity_count_in_proportion() -> None:
    claims = [Claim("a", 99, guaranteed=80), Claim("b", 99, guaranteed=40), Claim("c", 99)]
    division = divide(60, Strategy.RESERVED, claims)
    assert division.allocations == {"a": 40, "b": 20, "c": 0}
    assert types(division) == ["OVERCOMMITTED"]
    assert division.scaled == {"a": 40, "b": 20}


def test_they_are_scaled_whether_or_not_they_are_used() -> None:
    a, b = Claim("a", 10, guaranteed=100), Claim("b", 1_000, guaranteed=100)
    division = divide(100, Strategy.RESERVED, [a, b, Claim("c", 1_000)])
    # 50 for each: a uses 10, b its 50, and the 40 that are left are shared on top.
    assert division.allocations == {"a": 10, "b": 70, "c": 20}
    assert types(division) == ["OVERCOMMITTED"]
    assert "add up to 200, the capacity is 100" in division.conditions[0].message
    # The units that are left go to the largest fractions, the first name when they are equal.
    thirds = [Claim(name, 0, guaranteed=50) for name in "abc"]
    assert divide(100, Strategy.PRIORITY, thirds).scaled == {"a": 34, "b": 33, "c": 33}


def test_limits_of_borrowing_and_lending_are_about_what_guarantees_count_as() -> None:
    claims = [
        Claim("a", 0, guaranteed=50, lend_limit=0),
        Claim("b", 99, guaranteed=50, borrow_limit=5),
    ]
    division = divide(80, Strategy.RESERVED, claims)
    assert (division.allocations, division.held_back) == ({"a": 0, "b": 40}, {"a": 40})
    claims[0] = Claim("a", 0, guaranteed=50)
    division = divide(80, Strategy.RESERVED, claims)
    assert (division.allocations, division.unallocated) == ({"a": 0, "b": 45}, 35)


def test_scaled_guarantees_of_groups_are_those_of_their_members() -> None:
    claims = [
        Claim("a", 99, group="g", guaranteed=60),
        Claim("b", 99, group="g", guaranteed=20),
        Claim("c", 99, guaranteed=120),
    ]
    division = divide(100, Strategy.RESERVED, claims, [Group("g", guaranteed=40)])
    assert division.allocations == {"a": 30, "b": 10, "c": 60}
    assert (division.scaled, division.scaled_groups) == ({"a": 30, "b": 10, "c": 60}, {"g": 40})


def test_who_divides_a_part_of_a_pool_does_not_have_guarantees_scaled_to_it() -> None:
    a, b = Claim("a", 6, guaranteed=6), Claim("b", 0, guaranteed=6)
    rest = divide(8, Strategy.RESERVED, [a, b, Claim("c", 99)], scale=False)
    assert rest.allocations == {"a": 6, "b": 0, "c": 2}
    assert (rest.conditions, rest.scaled) == ([], {})


def test_weight_0_gets_its_guarantee_and_no_more() -> None:
    a = Claim("a", 99, weight=0, guaranteed=10)
    assert gets(100, "reserved", a, Claim("b", 5)) == [10, 5]
    # Where guarantees do not count, that is nothing.
    for strategy in ("proportional", "equal", "max_limit"):
        assert gets(100, strategy, a, Claim("b", 5)) == [0, 5]
    member, other = Claim("a", 99, group="g"), Claim("b", 99)
    assert gets(100, "equal", member, other, groups=[Group("g", weight=0)]) == [0, 99]


@pytest.mark.parametrize("strategy", ["equal", "proportional", "max_limit", "unlimited"])
def test_guarantees_above_the_capacity_are_named_where_they_do_not_count(strategy: str) -> None:
    claims = [Claim("a", 9, guaranteed=30, group="g"), Claim("b", 9)]
    division = divide(29, Strategy(strategy), claims, [Group("g", guaranteed=10)])
    assert division.allocations == {"a": 9, "b": 9}
    assert [(one.type, one.message) for one in division.conditions] == [
        (
            "OVERCOMMITTED",
            "the guarantees add up to 30, the capacity is 29; the strategy "
            f"{strategy} does not use guarantees",
        )
    ]
    assert types(divide(30, Strategy(strategy), claims, [Group("g")])) == []


def test_priority_serves_guarantees_then_tiers() -> None:
    claims = (
        Claim("a", 50, priority=9),
        Claim("b", 50, priority=5, weight=2),
        Claim("c", 50, priority=5),
        Claim("d", 50, priority=-1, guaranteed=5),
    )
    assert gets(85, "priority", *claims) == [50, 20, 10, 5]
    assert gets(3, "priority", *claims) == [0, 0, 0, 3]


def test_fixed_parts_are_what_they_are() -> None:
    claims = [Claim("a", 99, fixed=30), Claim("b", 10, fixed=30), Claim("c", 99)]
    division = divide(100, Strategy.FIXED, claims)
    assert (list(division.allocations.values()), division.unallocated) == ([30, 10, 0], 60)
    division = divide(20, Strategy.FIXED, [Claim("a", 99, fixed=30), Claim("b", 99, fixed=10)])
    assert division.allocations == {"a": 15, "b": 5}
    assert types(division) == ["OVERCOMMITTED"]


def test_max_limit_shares_by_weight_what_does_not_fit() -> None:
    a, b = Claim("a", 99, maximum=40, weight=3), Claim("b", 30)
    assert gets(100, "max_limit", a, b) == [40, 30]
    assert gets(40, "max_limit", a, b) == [30, 10]


def test_unlimited_says_when_it_gives_more_than_there_is() -> None:
    claims = [Claim("a", 70, weight=0), Claim("b", 90, maximum=50)]
    division = divide(100, Strategy.UNLIMITED, claims)
    assert (division.allocations, division.unallocated) == ({"a": 70, "b": 50}, 0)
    assert types(division) == ["CAPACITY_EXCEEDED"]
    assert types(divide(120, Strategy.UNLIMITED, claims)) == []


@pytest.mark.parametrize("strategy", Strategy)
def test_nothing_and_nobody(strategy: Strategy) -> None:
    assert divide(5, strategy, []) == Division({}, 5)
    only = divide(0, strategy, [Claim("a", 0), Claim("b", 0, weight=0)])
    assert only == Division({"a": 0, "b": 0}, 0)


# Groups ----------------------------------------------------------------------------------------


def test_groups_share_first_then_their_members() -> None:
    claims = [Claim("a", 99, group="g"), Claim("b", 99, group="g", weight=2), Claim("c", 99)]
    division = divide(90, Strategy.PROPORTIONAL, claims, [Group("g")])
    assert division.allocations == {"a": 15, "b": 30, "c": 45}


def test_the_guarantee_of_a_group_is_for_all_in_it() -> None:
    groups = [Group("team", parent="dept"), Group("dept", guaranteed=60, borrow_limit=10)]
    claims = [
        Claim("a", 99, group="team", guaranteed=20),
        Claim("b", 99, group="team"),
        Claim("z", 999, weight=9),
    ]
    division = divide(100, Strategy.RESERVED, claims, groups)
    # On top of the 60, the department has a tenth of the 40; and "a" its 20 before it shares.
    assert division.allocations == {"a": 42, "b": 22, "z": 36}
    division = divide(100, Strategy.RESERVED, claims[:2], groups)
    assert sum(division.allocations.values()) == 70


def test_a_group_keeps_what_it_does_not_lend() -> None:
    claims = [Claim("a", 10, group="g", guaranteed=30, lend_limit=20), Claim("b", 999)]
    groups = [Group("g", guaranteed=50, lend_limit=15)]
    # Of 50, 10 are used and 15 lent: 25 stay, none of which the tenant keeps for itself alone.
    division = divide(100, Strategy.RESERVED, claims, groups)
    assert division.allocations == {"a": 10, "b": 65}
    assert (division.held_back, division.unallocated) == ({}, 25)
    assert types(division) == ["HELD_BACK"]


@pytest.mark.parametrize(
    "group", [Group("g", guaranteed=30, borrow_limit=0), Group("g", guaranteed=30, maximum=30)]
)
def test_what_a_member_does_not_lend_counts_towards_the_limit_of_its_group(group: Group) -> None:
    a, b, e = (
        Claim("a", 5, guaranteed=20, lend_limit=0, group="g"),
        Claim("b", 100, group="g"),
        Claim("e", 100),
    )
    division = divide(100, Strategy.RESERVED, [a, b, e], [group])
    assert division.allocations == {"a": 5, "b": 10, "e": 70}
    assert (division.held_back, division.unallocated) == ({"a": 15}, 15)
    # The group may have no more than what a keeps: b does not get at it, and nothing idles outside.
    less = replace(group, guaranteed=20, maximum=20)
    division = divide(100, Strategy.RESERVED, [replace(a, demand=0), b, e], [less])
    assert division.allocations == {"a": 0, "b": 0, "e": 80}
    assert (division.held_back, division.unallocated) == ({"a": 20}, 20)


def test_members_cannot_have_more_guaranteed_than_their_group_may_have() -> None:
    claims = [Claim("a", 99, group="g", guaranteed=30), Claim("b", 99, group="g", guaranteed=10)]
    division = divide(100, Strategy.RESERVED, claims, [Group("g", borrow_limit=20)])
    assert division.allocations == {"a": 15, "b": 5}
    assert types(division) == ["OVERCOMMITTED"]


def test_priority_counts_among_siblings() -> None:
    claims = [Claim("a", 99, group="g", priority=9), Claim("b", 99, group="g"), Claim("c", 60)]
    assert gets(100, "priority", *claims, groups=[Group("g")]) == [50, 0, 50]
    assert gets(100, "priority", *claims, groups=[Group("g", priority=1)]) == [99, 1, 0]


def test_a_thousand_groups_deep() -> None:
    groups = [Group(str(n), parent=str(n - 1) if n else None) for n in range(1_000)]
    assert gets(7, "reserved", Claim("a", 9, group="999"), groups=groups) == [7]


def random_pool(chance: random.Random) -> tuple[int, list[Claim], list[Group]]:
    def maybe(most: int) -> int | None:
        return chance.choice([None, chance.randint(0, most)])

    names = [f"g{n}" for n in range(chance.randint(0, 5))]
    groups = [
        Group(
            name,
            parent=chance.choice([None, *names[:n]]),
            weight=chance.choice([0, 1, 2.5]),
            guaranteed=chance.choice([0, chance.randint(0, 40)]),
            borrow_limit=maybe(40),
            lend_limit=maybe(20),
            maximum=maybe(90),
            priority=chance.randint(0, 2),
        )
        for n, name in enumerate(names)
    ]
    claims = [
        Claim(
            f"t{n}",
            chance.choice([0, chance.randint(0, 60)]),
            weight=chance.choice([0, 1, 3, 0.1]),
            priority=chance.randint(0, 2),
            guaranteed=chance.choice([0, chance.randint(0, 30)]),
            borrow_limit=maybe(20),
            lend_limit=maybe(20),
            maximum=maybe(50),
            fixed=maybe(30),
            group=chance.choice([None, *names]),
        )
        for n in range(chance.randint(0, 9))
    ]
    return chance.choice([0, chance.randint(0, 300)]), claims, groups


@pytest.mark.parametrize("strategy", Strategy)
def test_what_holds_in_every_pool(strategy: Strategy) -> None:
    chance = random.Random(strategy.value)
    for _ in range(1_500):
        capacity, claims, groups = random_pool(chance)
        division = divide(capacity, strategy, claims, groups)
        given, held = division.allocations, division.held_back
        total = sum(given.values())
        assert list(given) == sorted(claim.tenant for claim in claims)
        assert all(units > 0 for units in held.values())
        assert division.unallocated == max(0, capacity - total)
        if strategy is not Strategy.UNLIMITED:
            assert total + sum(held.values()) <= capacity
        for claim in claims:
            most = [claim.demand]
            most += [claim.maximum] if claim.maximum is not None else []
            if strategy is Strategy.FIXED:
                most.append(claim.fixed or 0)
            if strategy in GUARANTEEING and claim.borrow_limit is not None:
                most.append(claim.guaranteed + claim.borrow_limit)
            assert 0 <= given[claim.tenant] <= min(most)
            assert claim.tenant not in held or given[claim.tenant] < claim.guaranteed
            if strategy in GUARANTEEING and "OVERCOMMITTED" not in types(division):
                in_capped = claim.group is not None and any(g.maximum is not None for g in groups)
                if not in_capped:
                    floor = min(claim.guaranteed, *most)
                    assert given[claim.tenant] >= floor or has_limits(claim, groups)
        for group in groups:
            of_group = sum(given[c.tenant] for c in claims if group.name in above(c, groups))
            if group.maximum is not None:
                assert of_group <= group.maximum
            if strategy in GUARANTEEING and group.borrow_limit is not None:
                assert of_group <= group.guaranteed + group.borrow_limit
        # The order in which things are written means nothing.
        chance.shuffle(claims)
        chance.shuffle(groups)
        assert divide(capacity, strategy, claims, groups) == division


def above(claim: Claim, groups: list[Group]) -> set[str]:
    parents = {group.name: group.parent for group in groups}
    names: set[str] = set()
    name = claim.group
    while name is not None:
        names.add(name)
        name = parents[name]
    return names


def has_limits(claim: Claim, groups: list[Group]) -> bool:
    """Whether a group above says how much its members may have."""
    over = above(claim, groups)
    return any(group.borrow_limit is not None for group in groups if group.name in over)


# Mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "groups", "said"),
    [
        ([Claim("a", 1), Claim("a", 1)], [], "tenant 'a' is there twice"),
        ([], [Group("g"), Group("g")], "a group is there twice"),
        ([Claim("a", 1, group="g")], [], "no group 'g'"),
        ([], [Group("g", parent="h")], "no group 'h'"),
        ([], [Group("g", parent="h"), Group("h", parent="g")], "circle"),
        ([], [Group("g", parent="g")], "circle"),
    ],
)
def test_what_cannot_be_divided(claims: list[Claim], groups: list[Group], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        divide(9, Strategy.EQUAL, claims, groups)


def test_impossible_numbers_are_refused_where_they_are_written() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        divide(-1, Strategy.EQUAL, [])
    for wrong in ({"demand": -1}, {"maximum": -2}, {"guaranteed": -1}, {"weight": float("nan")}):
        with pytest.raises(ValueError, match="at least 0"):
            Claim(**{"tenant": "a", "demand": 1, **wrong})  # type: ignore[arg-type]
    for weight in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="at least 0"):
            Group("g", weight=weight)
