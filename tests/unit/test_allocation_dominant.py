"""Dominant resource fairness: the paper's example, and what it promises."""

import random
from fractions import Fraction

import pytest

from headgate.allocation import Claim, DominantClaim, Strategy, divide, divide_dominant


def test_the_example_of_the_paper() -> None:
    division = divide_dominant(
        {"cpu": 9, "memory": 18},
        [
            DominantClaim("a", {"cpu": 100, "memory": 400}),
            DominantClaim("b", {"cpu": 300, "memory": 100}),
        ],
    )
    assert division.allocations == {"a": {"cpu": 3, "memory": 12}, "b": {"cpu": 6, "memory": 2}}
    assert division.unallocated == {"cpu": 0, "memory": 4}


def test_what_a_tenant_does_not_demand_does_not_stop_it() -> None:
    division = divide_dominant(
        {"cpu": 10, "gpu": 0, "disk": 4},
        [
            DominantClaim("a", {"cpu": 99, "gpu": 0}),
            DominantClaim("b", {"cpu": 9, "gpu": 1}),
            DominantClaim("c", {"cpu": 2, "disk": 9}),
            DominantClaim("d", {}),
            DominantClaim("e", {"cpu": 9}, weight=0),
        ],
    )
    assert division.allocations == {
        "a": {"cpu": 9, "gpu": 0},
        "b": {"cpu": 0, "gpu": 0},
        "c": {"cpu": 1, "disk": 3},
        "d": {},
        "e": {"cpu": 0},
    }


def test_with_one_resource_it_is_weighted_max_min() -> None:
    chance = random.Random(5)
    for _ in range(2_000):
        capacity = chance.randint(0, 200)
        rows = [
            (f"t{n}", chance.randint(0, 60), chance.choice([0, 1, 2, 0.5, 3]))
            for n in range(chance.randint(0, 8))
        ]
        one = divide(capacity, Strategy.PROPORTIONAL, [Claim(t, d, w) for t, d, w in rows])
        same = divide_dominant({"r": capacity}, [DominantClaim(t, {"r": d}, w) for t, d, w in rows])
        assert {t: parts["r"] for t, parts in same.allocations.items()} == one.allocations
        assert same.unallocated["r"] == one.unallocated


def test_what_it_promises() -> None:
    chance = random.Random(6)
    for _ in range(2_000):
        names = ["a", "b", "c"][: chance.randint(1, 3)]
        capacities = {name: chance.choice([0, 1, chance.randint(1, 500)]) for name in names}
        claims = [
            DominantClaim(
                f"t{n}",
                {
                    name: chance.choice([0, chance.randint(0, 300)])
                    for name in names
                    if chance.random() < 0.8
                },
                chance.choice([0, 1, 2, 0.3]),
            )
            for n in range(chance.randint(0, 7))
        ]
        division = divide_dominant(capacities, claims)
        given = division.allocations
        for name, capacity in capacities.items():
            used = sum(parts.get(name, 0) for parts in given.values())
            assert used + division.unallocated[name] == capacity
            assert division.unallocated[name] >= 0
        total = sum(Fraction(claim.weight) for claim in claims)
        for claim in claims:
            parts = given[claim.tenant]
            assert set(parts) == set(claim.demand)
            assert all(0 <= parts[name] <= claim.demand[name] for name in parts)
            if not claim.weight:
                continue
            wanted = [name for name in claim.demand if claim.demand[name]]
            # Pareto: who has not all it demands lacks a resource of which nothing is left.
            if any(parts[name] < claim.demand[name] for name in wanted):
                assert any(division.unallocated[name] == 0 for name in wanted)
            # Sharing incentive: at least what its part of every resource would have given it.
            if wanted and all(capacities[name] for name in wanted):
                dominant = max(Fraction(claim.demand[name], capacities[name]) for name in wanted)
                fair = min(Fraction(1), Fraction(claim.weight) / total / dominant)
                assert all(parts[name] > fair * claim.demand[name] - 1 for name in wanted)
        chance.shuffle(claims)
        assert divide_dominant(capacities, claims).allocations == given


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="no resource 'gpu'"):
        divide_dominant({"cpu": 1}, [DominantClaim("a", {"gpu": 1})])
    with pytest.raises(ValueError, match="twice"):
        divide_dominant({"cpu": 1}, [DominantClaim("a", {})] * 2)
    with pytest.raises(ValueError, match="capacity is -1"):
        divide_dominant({"cpu": -1}, [])
    with pytest.raises(ValueError, match="at least 0"):
        DominantClaim("a", {"cpu": -1})
