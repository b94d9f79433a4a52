"""The seven strategies against what they are said to mean, told again in the plainest way.

Nothing here is taken from the solver: shares rise together in exact fractions until one claimant
after the other is full, and where all weights are equal, every division there is gets tried.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from headgate.allocation import Claim, Group, Strategy, divide

Amounts = dict[str, int]


def rise(amount: int, weights: dict[str, float], room: Amounts) -> Amounts:
    """Weighted max-min: all rise together, by weight, until they are full; then whole units."""
    got = dict.fromkeys(room, Fraction(0))
    left = Fraction(amount)
    while left:
        rising = [name for name in room if weights[name] and got[name] < room[name]]
        if not rising:
            break
        speed = {name: Fraction(weights[name]) for name in rising}
        level = min((room[name] - got[name]) / speed[name] for name in rising)
        level = min(level, left / sum(speed.values()))
        for name in rising:
            got[name] += level * speed[name]
        left -= level * sum(speed.values())
    units = {name: int(part) for name, part in got.items()}
    spare = int(sum(got.values())) - sum(units.values())
    for name in sorted(room, key=lambda name: (units[name] - got[name], name))[:spare]:
        units[name] += 1
    return units


def most(claim: Claim, limit: int | None = None) -> int:
    return min(n for n in (claim.demand, claim.maximum, limit) if n is not None)


def borrowable(claim: Claim) -> int:
    limit = None if claim.borrow_limit is None else claim.guaranteed + claim.borrow_limit
    return most(claim, limit)


def shared(capacity: int, claims: list[Claim], weigh: Callable[[Claim], float]) -> Amounts:
    weights = {claim.tenant: weigh(claim) for claim in claims}
    return rise(capacity, weights, {claim.tenant: most(claim) for claim in claims})


def in_proportion(capacity: int, rights: Amounts) -> Amounts:
    """What guarantees count as: all of them if they fit, else each its proportional share."""
    total = sum(rights.values())
    if total <= capacity:
        return rights
    exact = {name: Fraction(capacity * units, total) for name, units in rights.items()}
    units = {name: int(part) for name, part in exact.items()}
    by_remainder = sorted(rights, key=lambda name: (units[name] - exact[name], name))
    for name in by_remainder[: capacity - sum(units.values())]:
        units[name] += 1
    return units


def with_guarantees(claims: list[Claim], rights: Amounts) -> list[Claim]:
    return [replace(claim, guaranteed=rights[claim.tenant]) for claim in claims]


def scaled(capacity: int, claims: list[Claim]) -> list[Claim]:
    rights = {claim.tenant: claim.guaranteed for claim in claims}
    return with_guarantees(claims, in_proportion(capacity, rights))


def tiers_of(strategy: Strategy, claims: list[Claim]) -> list[list[Claim]]:
    if strategy is Strategy.RESERVED:
        return [claims]
    numbers = sorted({claim.priority for claim in claims}, reverse=True)
    return [[claim for claim in claims if claim.priority == n] for n in numbers]


def guaranteed_first(
    capacity: int, claims: list[Claim], tiers: list[list[Claim]]
) -> tuple[Amounts, Amounts]:
    """What each gets, and what is held back, where the guarantees fit into the capacity."""
    gets = {claim.tenant: most(claim, claim.guaranteed) for claim in claims}
    kept = {
        claim.tenant: claim.guaranteed - gets[claim.tenant] - claim.lend_limit
        for claim in claims
        if claim.lend_limit is not None and claim.guaranteed - gets[claim.tenant] > claim.lend_limit
    }
    rest = capacity - sum(gets.values()) - sum(kept.values())
    for tier in tiers:
        room = {claim.tenant: borrowable(claim) - gets[claim.tenant] for claim in tier}
        more = rise(rest, {claim.tenant: claim.weight for claim in tier}, room)
        for tenant, units in more.items():
            gets[tenant] += units
        rest -= sum(more.values())
    return gets, kept


def told(strategy: Strategy, capacity: int, claims: list[Claim]) -> tuple[Amounts, Amounts]:
    """What a strategy means, in its own words."""
    match strategy:
        case Strategy.EQUAL:
            return shared(capacity, claims, lambda claim: 1 if claim.weight else 0), {}
        case Strategy.PROPORTIONAL | Strategy.MAX_LIMIT:
            return shared(capacity, claims, lambda claim: claim.weight), {}
        case Strategy.RESERVED | Strategy.PRIORITY:
            counting = scaled(capacity, claims)
            return guaranteed_first(capacity, counting, tiers_of(strategy, counting))
        case Strategy.FIXED:
            return {claim.tenant: most(claim, claim.fixed or 0) for claim in claims}, {}
        case Strategy.UNLIMITED:
            return {claim.tenant: most(claim) for claim in claims}, {}


def problem(chance: random.Random, largest: int) -> tuple[int, list[Claim]]:
    """A pool whose guarantees, and whose fixed parts, fit into its capacity."""

    def maybe(most: int) -> int | None:
        return chance.choice([None, chance.randint(0, most)])

    equal = chance.random() < 0.4
    claims = [
        Claim(
            f"t{n}",
            chance.choice([0, chance.randint(0, 3 * largest)]),
            weight=1 if equal else chance.choice([0, 1, 2, 3, 0.1, 0.7]),
            priority=chance.randint(0, 2),
            guaranteed=chance.choice([0, chance.randint(0, largest)]),
            borrow_limit=maybe(largest),
            lend_limit=maybe(largest),
            maximum=maybe(2 * largest),
            fixed=maybe(largest),
        )
        for n in range(chance.randint(0, 5))
    ]
    chance.shuffle(claims)
    least = max(sum(c.guaranteed for c in claims), sum(c.fixed or 0 for c in claims))
    return least + chance.choice([0, chance.randint(0, 4 * largest)]), claims


@pytest.mark.parametrize("strategy", Strategy)
def test_each_strategy_means_what_is_said_of_it(strategy: Strategy) -> None:
    chance = random.Random(strategy.value)
    for _ in range(3_000):
        capacity, claims = problem(chance, chance.choice([1, 5, 60]))
        division = divide(capacity, strategy, claims)
        gets, kept = told(strategy, capacity, claims)
        assert division.allocations == gets, (capacity, claims)
        assert division.held_back == kept, (capacity, claims)
        assert division.unallocated == max(0, capacity - sum(gets.values()))
        over = sum(gets.values()) > capacity
        assert [c.type for c in division.conditions] == ["CAPACITY_EXCEEDED"] * over


@pytest.mark.parametrize("strategy", [Strategy.EQUAL, Strategy.RESERVED])
def test_no_division_of_the_rest_is_fairer(strategy: Strategy) -> None:
    """All divisions are tried: none leaves whoever has least on top of its guarantee more."""
    chance = random.Random(11)
    for _ in range(400):
        capacity, claims = problem(chance, 2)
        claims = [Claim(c.tenant, min(c.demand, 5), guaranteed=c.guaranteed) for c in claims[:4]]
        guarantees = strategy is Strategy.RESERVED
        rights = [min(c.demand, c.guaranteed) if guarantees else 0 for c in claims]
        room = [claim.demand - right for claim, right in zip(claims, rights, strict=True)]
        rest = min(capacity - sum(rights), sum(room))
        every = itertools.product(*(range(units + 1) for units in room))
        best = max(sorted(one) for one in every if sum(one) == rest)
        gets = divide(capacity, strategy, claims).allocations
        extra = [gets[claim.tenant] - right for claim, right in zip(claims, rights, strict=True)]
        assert sorted(extra) == best


@pytest.mark.parametrize("strategy", [Strategy.RESERVED, Strategy.PRIORITY])
def test_guarantees_that_do_not_fit_count_in_proportion(strategy: Strategy) -> None:
    chance = random.Random(5)
    for _ in range(1_000):
        rights = [chance.randint(0, 30) for _ in range(chance.randint(1, 5))]
        capacity = chance.randint(0, max(0, sum(rights) - 1))
        if capacity >= sum(rights):
            continue
        claims = [Claim(f"t{n}", 99, guaranteed=right) for n, right in enumerate(rights)]
        division = divide(capacity, strategy, claims)
        for part, right in zip(division.allocations.values(), rights, strict=True):
            assert abs(part - Fraction(capacity * right, sum(rights))) < 1
        assert division.unallocated == 0
        assert [c.type for c in division.conditions] == ["OVERCOMMITTED"]


@pytest.mark.parametrize("strategy", [Strategy.RESERVED, Strategy.PRIORITY])
def test_guarantees_that_do_not_fit_are_scaled_before_anything_else(strategy: Strategy) -> None:
    """Used or not: who does not use its scaled guarantee lends of it as of any other."""
    chance = random.Random(strategy.value)
    for _ in range(3_000):
        _, claims = problem(chance, chance.choice([3, 60]))
        rights = sum(claim.guaranteed for claim in claims)
        capacity = chance.randint(0, rights)
        division = divide(capacity, strategy, claims)
        gets, kept = told(strategy, capacity, claims)
        assert division.allocations == gets, (capacity, claims)
        assert division.held_back == kept, (capacity, claims)
        assert [c.type for c in division.conditions] == ["OVERCOMMITTED"] * (rights > capacity)


def limit_of(group: Group, own: int) -> int:
    """What a group may have, whose guarantee counts as ``own``."""
    borrows = None if group.borrow_limit is None else own + group.borrow_limit
    return min(n for n in (10**6, group.maximum, borrows) if n is not None)


def in_groups(
    strategy: Strategy, capacity: int, claims: list[Claim], groups: list[Group]
) -> tuple[Amounts, Amounts, Amounts]:
    """What tenants get and hold back, and what groups hold back; every tenant is in a group."""
    members = {g.name: [claim for claim in claims if claim.group == g.name] for g in groups}
    rights = {
        group.name: min(
            max(group.guaranteed, sum(claim.guaranteed for claim in members[group.name])),
            limit_of(group, group.guaranteed),
        )
        for group in groups
    }
    rights = in_proportion(capacity, rights)
    kept: Amounts = {}
    kept_by_groups: Amounts = {}
    as_claims = []
    for group in groups:
        inside = members[group.name] = scaled(rights[group.name], members[group.name])
        own = min(group.guaranteed, rights[group.name])
        used, held = guaranteed_first(sum(claim.guaranteed for claim in inside), inside, [])
        kept |= held
        # Nobody gets at what a member holds back: neither outside nor in the group.
        unlent = sum(held.values())
        usable = sum(borrowable(c) if c.weight else used[c.tenant] for c in inside)
        usable = min(usable, limit_of(group, own) - unlent)
        first = min(usable, max(own - unlent, sum(used.values())))
        if group.lend_limit is not None:
            unused = rights[group.name] - first - unlent
            kept_by_groups[group.name] = max(0, unused - group.lend_limit)
        as_claims.append(Claim(group.name, usable, group.weight, group.priority, first))
    rest = capacity - sum(kept.values()) - sum(kept_by_groups.values())
    parts, _ = guaranteed_first(rest, as_claims, tiers_of(strategy, as_claims))
    gets: Amounts = {}
    for group in groups:
        inside = [replace(claim, lend_limit=None) for claim in members[group.name]]
        gets |= guaranteed_first(parts[group.name], inside, tiers_of(strategy, inside))[0]
    return gets, kept, {name: units for name, units in kept_by_groups.items() if units}


@pytest.mark.parametrize("strategy", [Strategy.RESERVED, Strategy.PRIORITY])
def test_groups_with_limits_whose_members_do_not_lend_all(strategy: Strategy) -> None:
    chance = random.Random(strategy.value)

    def maybe(most: int) -> int | None:
        return chance.choice([None, chance.randint(0, most)])

    for _ in range(1_500):
        groups = [
            Group(
                f"g{n}",
                weight=chance.choice([1, 2, 0.5]),
                guaranteed=chance.randint(0, 40),
                borrow_limit=maybe(20),
                lend_limit=maybe(20),
                maximum=maybe(60),
                priority=chance.randint(0, 1),
            )
            for n in range(3)
        ]
        claims = [
            Claim(
                f"t{n}",
                chance.choice([0, chance.randint(0, 60)]),
                weight=chance.choice([0, 1, 3]),
                priority=chance.randint(0, 1),
                guaranteed=chance.randint(0, 25),
                borrow_limit=maybe(20),
                lend_limit=maybe(10),
                group=groups[n % 3].name,
            )
            for n in range(6)
        ]
        capacity = chance.randint(0, 200)
        division = divide(capacity, strategy, claims, groups)
        gets, kept, of_groups = in_groups(strategy, capacity, claims, groups)
        assert division.allocations == gets, (capacity, claims, groups)
        assert division.held_back == kept, (capacity, claims, groups)
        assert sorted(c.message for c in division.conditions if c.type == "HELD_BACK") == [
            f"group {name} holds {units} units of its unused guarantee back"
            for name, units in sorted(of_groups.items())
        ]
        # Within limits, what is held back counts as had.
        for group in groups:
            inside = [claim.tenant for claim in claims if claim.group == group.name]
            had = sum(gets[tenant] + kept.get(tenant, 0) for tenant in inside)
            assert had <= limit_of(group, group.guaranteed)


@pytest.mark.parametrize("strategy", Strategy)
def test_groups_divide_like_tenants_and_then_within(strategy: Strategy) -> None:
    """A group stands for its members among its siblings; they divide its part in the same way."""
    chance = random.Random(strategy.value)
    guaranteeing = strategy in (Strategy.RESERVED, Strategy.PRIORITY)
    for _ in range(1_000):
        groups = [
            Group(
                f"g{n}",
                weight=chance.choice([1, 2, 0.5]),
                guaranteed=chance.randint(0, 20),
                borrow_limit=chance.choice([None, chance.randint(0, 20)]) if guaranteeing else None,
                priority=chance.randint(0, 1),
            )
            for n in range(2)
        ]
        claims = [
            Claim(
                f"t{n}",
                chance.randint(0, 40),
                weight=chance.choice([1, 3]),
                priority=chance.randint(0, 1),
                fixed=chance.randint(0, 20),
                group=groups[n % 2].name,
            )
            for n in range(4)
        ]
        capacity = chance.randint(80, 120)
        given = divide(capacity, strategy, claims, groups).allocations
        fixed = strategy is Strategy.FIXED
        of_groups = [
            Claim(
                group.name,
                sum(most(c, c.fixed if fixed else None) for c in claims if c.group == group.name),
                weight=group.weight,
                priority=group.priority,
                guaranteed=group.guaranteed,
                borrow_limit=group.borrow_limit,
                fixed=sum(c.fixed or 0 for c in claims if c.group == group.name),
            )
            for group in groups
        ]
        parts, _ = told(strategy, capacity, of_groups)
        for group in groups:
            members = [claim for claim in claims if claim.group == group.name]
            within, _ = told(strategy, parts[group.name], members)
            assert {claim.tenant: given[claim.tenant] for claim in members} == within
