from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.quota.deadlines import SWEEP_FROM, Deadlines


def over(current: dict[str, int]) -> Deadlines:
    return Deadlines(lambda id, at_ms: current.get(id) == at_ms)


def test_the_earliest_that_applies_is_next() -> None:
    current = {"a": 30, "b": 20}
    deadlines = over(current)
    deadlines.add("a", 30)
    deadlines.add("b", 20)
    assert deadlines.next() == 20
    del current["b"]
    assert deadlines.next() == 30
    assert deadlines.next() == 30


def test_what_is_due_comes_once_in_order_of_deadline_then_id() -> None:
    current = {"b": 10, "a": 10, "c": 5, "d": 11}
    deadlines = over(current)
    for id, at_ms in current.items():
        deadlines.add(id, at_ms)
    assert deadlines.due(10) == ["c", "a", "b"]
    assert deadlines.due(10) == []
    assert deadlines.next() == 11


def test_a_deadline_that_was_added_twice_is_met_once() -> None:
    deadlines = over({"a": 10})
    deadlines.add("a", 10)
    deadlines.add("a", 10)
    assert deadlines.due(10) == ["a"]


def test_a_moved_deadline_is_met_at_its_new_time_only() -> None:
    current = {"a": 10}
    deadlines = over(current)
    deadlines.add("a", 10)
    current["a"] = 20
    deadlines.add("a", 20)
    assert deadlines.due(19) == []
    assert deadlines.due(20) == ["a"]


def test_what_is_beyond_the_asked_number_stays_due() -> None:
    current = {str(nth): nth for nth in range(5)}
    deadlines = over(current)
    for id, at_ms in current.items():
        deadlines.add(id, at_ms)
    assert deadlines.due(10, at_most=2) == ["0", "1"]
    assert deadlines.next() == 2
    assert deadlines.due(10) == ["2", "3", "4"]


def test_deadlines_that_are_never_met_do_not_pile_up() -> None:
    current: dict[str, int] = {}
    deadlines = over(current)
    for nth in range(20 * SWEEP_FROM):
        current[str(nth)] = 10**9 + nth
        deadlines.add(str(nth), 10**9 + nth)
        del current[str(nth)]
    assert len(deadlines._heap) <= 2 * SWEEP_FROM


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.sampled_from("abcdef"), st.integers(0, 30)),
            st.tuples(st.just("drop"), st.sampled_from("abcdef"), st.just(0)),
            st.tuples(st.just("meet"), st.just(""), st.integers(0, 30)),
        ),
        max_size=60,
    )
)
def test_it_agrees_with_a_plain_dictionary(steps: list[tuple[str, str, int]]) -> None:
    current: dict[str, int] = {}
    deadlines = over(current)
    for what, id, at_ms in steps:
        if what == "set":
            current[id] = at_ms
            deadlines.add(id, at_ms)
        elif what == "drop":
            current.pop(id, None)
        else:
            due = sorted((at, id) for id, at in current.items() if at <= at_ms)
            assert deadlines.due(at_ms) == [id for _, id in due]
            for _, gone in due:
                del current[gone]
        assert deadlines.next() == min(current.values(), default=None)
