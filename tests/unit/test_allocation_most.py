"""What a tenant could hold at most is what it would get if nobody else wanted any."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.allocation.claims import Claim, Group
from headgate.allocation.most import Most
from headgate.allocation.strategies import divide
from headgate.model.pool import Strategy

LIMITED = [strategy for strategy in Strategy if strategy is not Strategy.UNLIMITED]
NAMES = ("g", "h", "i")
units = st.integers(0, 40)
limits = st.none() | units


@st.composite
def pools(draw: st.DrawFn) -> tuple[int, Strategy, list[Claim], list[Group]]:
    depth = draw(st.integers(0, len(NAMES)))
    groups = [
        Group(
            name=name,
            parent=draw(st.sampled_from([None, *NAMES[:number]])),
            weight=draw(st.sampled_from([0, 1, 2.5])),
            guaranteed=draw(units),
            borrow_limit=draw(limits),
            lend_limit=draw(limits),
            maximum=draw(limits),
            priority=draw(st.integers(0, 1)),
        )
        for number, name in enumerate(NAMES[:depth])
    ]
    claims = [
        Claim(
            tenant=f"t{number}",
            demand=draw(units),
            weight=draw(st.sampled_from([0, 1, 0.5])),
            priority=draw(st.integers(0, 1)),
            guaranteed=draw(units),
            borrow_limit=draw(limits),
            lend_limit=draw(limits),
            maximum=draw(limits),
            fixed=draw(limits),
            group=draw(st.sampled_from([None, *NAMES[:depth]])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    return draw(st.integers(0, 100)), draw(st.sampled_from(LIMITED)), claims, groups


@settings(max_examples=500, deadline=None)
@given(pool=pools())
def test_it_is_what_a_division_would_give_it_alone(
    pool: tuple[int, Strategy, list[Claim], list[Group]],
) -> None:
    capacity, strategy, claims, groups = pool
    most = Most(capacity, strategy, [one for one in claims if one.guaranteed], groups)
    for claim in claims:
        alone = [replace(one, demand=capacity if one is claim else 0) for one in claims]
        given_alone = divide(capacity, strategy, alone, groups).allocations[claim.tenant]
        bound = most.of(claim)
        assert bound.units == given_alone
        assert bool(bound.why) == (bound.units < capacity)


RESERVED = Strategy.RESERVED


@pytest.mark.parametrize(
    ("claim", "units", "why"),
    [
        (Claim("a", 0, weight=0), 0, "its weight is 0, so it gets nothing"),
        (
            Claim("k", 0, weight=0, guaranteed=20, lend_limit=0),
            20,
            "its weight is 0, so it gets its guarantee of 20 and no more",
        ),
        (Claim("a", 0, borrow_limit=7), 7, "it may borrow 7"),
        (Claim("a", 0), 80, "20 of what is guaranteed to others is not lent"),
        (Claim("a", 0, group="g"), 30, "group g may have 30"),
        (Claim("a", 0, group="h"), 5, "group h may have 25, of which 20 are not lent"),
        (Claim("a", 0, maximum=9), 9, "its maximum is 9"),
    ],
)
def test_it_says_what_keeps_a_tenant_from_more(claim: Claim, units: int, why: str) -> None:
    inside = "h" if claim.group == "h" else None
    keeper = Claim("k", 0, weight=claim.weight, guaranteed=20, lend_limit=0, group=inside)
    groups = [Group("g", maximum=30), Group("h", maximum=25)]
    assert Most(100, RESERVED, [keeper], groups).of(claim) == (units, why)
