"""What the dialog of an override proposes to whoever wants to give a tenant more."""

import pytest

from headgate.api.dashboard.render import _limited, _more
from headgate.model.ledger import LimitView


@pytest.mark.parametrize(
    ("limits", "guaranteeing", "proposed"),
    [
        (None, ["p"], {}),
        (LimitView(), ["p"], {}),
        (LimitView(max_active=4), ["p"], {"max_active": 8}),
        (LimitView(max_active=4, pool="p", allocated=4), ["p"], {"max_active": 8}),
        (LimitView(max_active=9, pool="p", allocated=2, guaranteed=2), ["p"], {"guaranteed": 4}),
        (LimitView(pool="p", allocated=3, guaranteed=1), ["p"], {"guaranteed": 6}),
        (LimitView(max_active=3, pool="p", allocated=2, guaranteed=2), ["p"], {"guaranteed": 3}),
        (LimitView(max_active=3, pool="p", allocated=2, guaranteed=3), ["p"], {}),
        (LimitView(pool="p", allocated=0), ["p"], {"guaranteed": 1}),
        (LimitView(max_active=9, pool="p", allocated=2, guaranteed=2), [], {}),
    ],
)
def test_twice_of_what_limits_it(
    limits: LimitView | None, guaranteeing: list[str], proposed: dict[str, int]
) -> None:
    assert _more(limits, guaranteeing) == proposed


def test_where_a_pool_limits_it_the_capacity_is_named_and_the_guarantee_only_if_it_counts() -> None:
    limits = LimitView(max_active=9, pool="p", allocated=2, guaranteed=1)
    start = ", max_active is 9, guaranteed is 1, and pool p gives 2. "
    start += "The pool limits it: for more, raise "
    assert _limited(limits, ["p"]) == f"{start}what is guaranteed, or the capacity of p."
    assert _limited(limits, []) == f"{start}the capacity of p."
    assert _limited(LimitView(max_active=9), ["p"]) == ", max_active is 9."
