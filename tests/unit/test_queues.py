from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.quota.queues import Queues
from headgate.quota.record import Waiter


def waiter(order: int, priority: int = 0, resource: str = "scan") -> Waiter:
    return Waiter(
        resource=resource,
        units=1,
        workflow_id="job",
        run_id="",
        priority=priority,
        order=order,
        since_ms=0,
        until_ms=1,
    )


def test_the_first_to_come_is_next() -> None:
    queues = Queues([("b", waiter(0)), ("a", waiter(1))])
    assert queues.head("scan") == "b"


def test_a_higher_priority_is_next_whenever_it_came() -> None:
    queues = Queues([("a", waiter(0)), ("b", waiter(1, priority=5)), ("c", waiter(2, priority=5))])
    assert list(queues.in_order()) == ["b", "c", "a"]


def test_lines_of_different_resources_do_not_meet() -> None:
    queues = Queues([("a", waiter(0)), ("b", waiter(1, resource="sign"))])
    assert queues.resources() == ["scan", "sign"]
    assert (queues.head("scan"), queues.head("sign")) == ("a", "b")
    assert queues.length("scan") == 1


def test_who_needs_several_resources_stands_in_each_line_once() -> None:
    both = waiter(1)
    both.also = {"sign": 3}
    queues = Queues([("a", waiter(0)), ("b", both), ("c", waiter(2, resource="sign"))])
    assert (queues.head("scan"), queues.head("sign")) == ("a", "b")
    assert not queues.is_next("b", both)
    assert (queues.position("b", both), queues.position("c", waiter(2, resource="sign"))) == (2, 2)
    assert queues.ahead("b", both, 5) == ["a"]
    assert (queues.units("scan"), queues.units("sign")) == (2, 4)
    assert list(queues.in_order()) == ["a", "b", "c"]
    queues.remove("a", waiter(0))
    assert queues.is_next("b", both)


def test_an_empty_line_is_no_line() -> None:
    queues = Queues([("a", waiter(0))])
    queues.remove("a", waiter(0))
    assert queues.resources() == []
    assert queues.head("scan") is None
    assert queues.length("scan") == 0


@settings(max_examples=100, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.integers(-2, 2), st.sampled_from(["scan", "sign"]))),
    leaving=st.lists(st.integers(0, 100)),
)
def test_it_agrees_with_a_sorted_list(arrivals: list[tuple[int, str]], leaving: list[int]) -> None:
    waiters = {str(nth): waiter(nth, *arrival) for nth, arrival in enumerate(arrivals)}
    queues = Queues(waiters.items())
    for pick in leaving:
        if waiters:
            id = list(waiters)[pick % len(waiters)]
            queues.remove(id, waiters.pop(id))
    for resource in ("scan", "sign"):
        line = sorted(
            (id for id, one in waiters.items() if one.resource == resource),
            key=lambda id: (-waiters[id].priority, waiters[id].order),
        )
        assert queues.head(resource) == (line[0] if line else None)
        assert queues.length(resource) == queues.units(resource) == len(line)
        for position, id in enumerate(line, start=1):
            assert queues.position(id, waiters[id]) == position
