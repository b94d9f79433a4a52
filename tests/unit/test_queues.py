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
    assert [id for _, id in queues.in_order()] == ["b", "c", "a"]


def test_lines_of_different_resources_do_not_meet() -> None:
    queues = Queues([("a", waiter(0)), ("b", waiter(1, resource="sign"))])
    assert queues.resources() == ["scan", "sign"]
    assert (queues.head("scan"), queues.head("sign")) == ("a", "b")
    assert queues.length("scan") == 1


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
        assert queues.length(resource) == len(line)
        for position, id in enumerate(line, start=1):
            assert queues.position(id, waiters[id]) == position
