"""The seven strategies against what they are said to mean, told again in the plainest way.

Nothing here is taken from the solver: shares rise together in exact fractions until one claimant
after the other is full, and where all weights are equal, every division there is gets tried.
"""

import itertools
import random
from collections.abc import Callable
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
            return shared(capacity, claims, lambda claim: 1), {}
        case Strategy.PROPORTIONAL | Strategy.MAX_LIMIT:
            return shared(capacity, claims, lambda claim: claim.weight), {}
        case Strategy.RESERVED:
            return guaranteed_first(capacity, claims, [claims])
        case Strategy.PRIORITY:
            numbers = sorted({claim.priority for claim in claims}, reverse=True)
            tiers = [[claim for claim in claims if claim.priority == n] for n in numbers]
            return guaranteed_first(capacity, claims, tiers)
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
