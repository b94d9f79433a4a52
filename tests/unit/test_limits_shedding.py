"""What may wait when too much does, and of whom."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.decay import MICRO
from headgate.limits import Line, RecentUsage, Standing, keep, room_for
from headgate.model.limits import PressureLevel, SheddingPolicy

NORMAL, ELEVATED, SATURATED, EMERGENCY = PressureLevel
POLICY = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=0)


def kept_of(
    policy: SheddingPolicy, lines: list[Line], **standings: Standing
) -> dict[tuple[str, int], int]:
    """Return what is kept when four units may wait."""
    kept = keep(policy, SATURATED, 4, lines, standings)
    assert kept is not None
    return {key: units for key, units in kept.units.items() if units}


def test_everything_may_wait_while_normal_or_while_there_is_room() -> None:
    lines = [Line("acme", 0, 100, 100)]
    assert keep(POLICY, NORMAL, 1, lines, {}) is None
    assert keep(POLICY, ELEVATED, 50, lines, {}) is None
    assert [room_for(POLICY, level, 10) for level in PressureLevel] == [None, 20, 10, 5]


def test_lowest_priority_goes_first_then_who_used_most_lately() -> None:
    lines = [Line("low", -1, 2), Line("busy", 0, 2), Line("calm", 0, 2), Line("top", 5, 1)]
    standings = {"busy": Standing(usage=9 * MICRO), "calm": Standing(usage=MICRO)}
    kept = keep(POLICY, SATURATED, 4, lines, standings)
    assert kept is not None
    assert kept.units == {("top", 5): 1, ("calm", 0): 2, ("busy", 0): 1, ("low", -1): 0}
    assert (kept.below, kept.closed) == (0, [("busy", 0), ("low", -1)])
    assert (kept.asked, kept.room) == (7, 4)


def test_a_guarantee_is_kept_though_the_tenant_has_the_lowest_priority() -> None:
    kept = kept_of(
        POLICY,
        [Line("low", -1, 6, 6), Line("top", 5, 6, 6)],
        low=Standing(guaranteed=5, held=2, usage=10 * MICRO),
    )
    assert kept == {("low", -1): 3, ("top", 5): 1}


def test_also_without_any_room() -> None:
    policy = SheddingPolicy(elevated=0, saturated=0, emergency=0, min_flow=0)
    kept = kept_of(policy, [Line("acme", 0, 3, 3)], acme=Standing(guaranteed=2))
    assert kept == {("acme", 0): 2}


def test_some_of_every_priority_is_kept() -> None:
    policy = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=0.5)
    kept = kept_of(policy, [Line("top", 5, 9, 9), Line("mid", 1, 9, 9), Line("low", 0, 9, 9)])
    assert kept == {("top", 5): 2, ("mid", 1): 1, ("low", 0): 1}


def test_the_flow_is_of_whole_jobs_of_who_has_waited_longest() -> None:
    policy = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=0.5)
    lines = [Line("top", 5, 9, 9, 0), Line("late", 0, 9, 3, 7), Line("early", 0, 6, 2, 5)]
    assert kept_of(policy, lines) == {("top", 5): 1, ("early", 0): 3}


TENANTS = ["a", "b", "c", "d"]


@given(
    raw=st.dictionaries(
        st.tuples(st.sampled_from(TENANTS), st.integers(-2, 2)),
        st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(0, 100)),
        max_size=20,
    ),
    standings=st.dictionaries(
        st.sampled_from(TENANTS),
        st.builds(
            Standing,
            guaranteed=st.integers(0, 8),
            held=st.integers(0, 8),
            usage=st.integers(0, 5) | st.just(10 * MICRO),
        ),
    ),
    level=st.sampled_from([ELEVATED, SATURATED, EMERGENCY]),
    limit=st.integers(0, 20),
    min_flow=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_guarantees_order_and_flow(
    raw: dict[tuple[str, int], tuple[int, int, int]],
    standings: dict[str, Standing],
    level: PressureLevel,
    limit: int,
    min_flow: float,
) -> None:
    policy = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=min_flow)
    lines = [
        Line(tenant, priority, jobs * size, jobs, since_ms)
        for (tenant, priority), (jobs, size, since_ms) in raw.items()
    ]
    kept = keep(policy, level, limit, lines, standings)
    room = room_for(policy, level, limit)
    asked = sum(line.units for line in lines)
    assert room is not None
    assert kept == keep(policy, level, limit, lines[::-1], standings)
    if kept is None:
        assert asked <= room
        return
    assert asked > room
    assert (kept.asked, kept.room) == (asked, room)
    assert all(0 <= kept.units[line.key] <= line.units for line in lines)

    # Below its guarantee a tenant loses nothing.
    promised = 0
    for tenant in TENANTS:
        owed = standings.get(tenant, Standing()).owed
        own = [line for line in lines if line.tenant == tenant]
        has = sum(kept.units[line.key] for line in own)
        assert has >= min(owed, sum(line.units for line in own))
        promised += min(owed, has)
    # No more is kept than there is room for, but for guarantees.
    assert sum(kept.units.values()) <= max(room, promised)

    # The least important first: whoever is behind a line that lost something is closed, too.
    def rank(line: Line) -> tuple[int, int, str]:
        return -line.priority, standings.get(line.tenant, Standing()).usage, line.tenant

    cut = [line for line in lines if kept.units[line.key] < line.units]
    if cut:
        first = min(cut, key=rank)
        assert kept.below == first.priority
        assert kept.closed == [
            line.key for line in sorted(lines, key=rank) if rank(line) >= rank(first)
        ]
    if min_flow == 0 and not promised:
        for stays in lines:
            for goes in lines:
                if kept.units[stays.key] and kept.units[goes.key] < goes.units:
                    assert rank(stays) <= rank(goes)
    # Of the lowest priority something is kept, when a job of who has waited longest fits.
    if min_flow and not promised:
        lowest = min(line.priority for line in lines)
        if lowest < max(line.priority for line in lines):
            oldest = min(
                (line for line in lines if line.priority == lowest),
                key=lambda line: (line.since_ms, line.tenant),
            )
            assert kept.units[oldest.key] >= min(1, room) or -(-oldest.units // oldest.jobs) > room


def test_recent_usage_counts_half_after_the_half_life() -> None:
    usage = RecentUsage()
    usage.note(8, 0, 60_000)
    assert usage.at(60_000, 60_000) == 4 * MICRO
    usage.note(0, 60_000, 60_000)
    assert usage.at(120_000, 60_000) == 2 * MICRO
    usage.note(4, 50_000, 60_000)  # a clock set back counts for nothing
    assert usage.at(60_000, 60_000) == 4 * MICRO
