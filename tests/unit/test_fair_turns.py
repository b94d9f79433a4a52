"""Who waits longest for a whole job has its turn, also where there are fewer units than tenants."""

import pytest

from headgate.model.pool import Strategy
from headgate.model.quota import Quota
from tests.unit.pools import PoolOfLedgers


@pytest.mark.parametrize(
    "strategy", [Strategy.EQUAL, Strategy.PROPORTIONAL, Strategy.RESERVED, Strategy.PRIORITY]
)
@pytest.mark.parametrize(("capacity", "names"), [(1, "ab"), (3, "abcd"), (2, "abcde")])
def test_everybody_is_served_where_there_is_not_one_unit_for_each(
    strategy: Strategy, capacity: int, names: str
) -> None:
    pool = PoolOfLedgers(capacity, {name: Quota() for name in names}, strategy=strategy)
    done = dict.fromkeys(names, 0)
    for name in reversed(names):
        pool.ask(name, 40)
    pool.wait(2_000)
    order = list(names)
    for _ in range(40):
        ends = next(name for name in order if pool.held(name))
        pool.give_back(ends)
        done[ends] += 1
        pool.wait(300)
        order = order[1:] + order[:1]
    assert min(done.values()) * 2 >= max(done.values()), done


def test_who_has_a_backlog_does_not_keep_a_single_unit_for_ever() -> None:
    pool = PoolOfLedgers(1, {"a": Quota(), "b": Quota()}, strategy=Strategy.EQUAL)
    pool.ask("b", 40)
    pool.wait(1_000)
    pool.ask("a")
    pool.wait(1_000)
    pool.give_back("b")
    pool.wait(1_000)
    assert (pool.held("a"), pool.held("b")) == (1, 0)
