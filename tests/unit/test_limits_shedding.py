"""Which of the waiting jobs are refused, and what they are told."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.decay import MICRO
from headgate.limits import RecentUsage, Standing, Waiting, room_for, shed
from headgate.model.limits import PressureLevel, SheddingPolicy
from headgate.model.reason import ReasonCode

NORMAL, ELEVATED, SATURATED, EMERGENCY = PressureLevel
POLICY = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=0)


def jobs(tenant: str, number: int, priority: int = 0, since_ms: int = 0) -> list[Waiting]:
    return [Waiting(f"{tenant}-{n}", tenant, priority, 1, since_ms + n) for n in range(number)]


def names(policy: SheddingPolicy, waiting: list[Waiting], **standings: Standing) -> list[str]:
    """Return who is refused when four units may wait."""
    return [one.job.id for one in shed(policy, SATURATED, 4, waiting, standings)]


def test_nothing_is_refused_while_normal_or_while_there_is_room() -> None:
    waiting = jobs("acme", 100)
    assert shed(POLICY, NORMAL, 1, waiting, {}) == []
    assert shed(POLICY, ELEVATED, 50, waiting, {}) == []
    assert [room_for(POLICY, level, 10) for level in PressureLevel] == [None, 20, 10, 5]


def test_lowest_priority_goes_first_then_who_used_most_lately() -> None:
    waiting = [*jobs("low", 2, -1), *jobs("busy", 2), *jobs("calm", 2), *jobs("top", 1, 5)]
    refused = names(
        POLICY, waiting, busy=Standing(usage=9 * MICRO), calm=Standing(usage=MICRO), low=Standing()
    )
    assert refused == ["low-1", "low-0", "busy-1"]


def test_a_guarantee_is_kept_though_the_tenant_has_the_lowest_priority() -> None:
    waiting = [*jobs("low", 6, -1), *jobs("top", 6, 5)]
    refused = names(POLICY, waiting, low=Standing(guaranteed=5, held=2, usage=10 * MICRO))
    kept = {job.id for job in waiting} - set(refused)
    assert kept == {"low-0", "low-1", "low-2", "top-0"}


def test_also_without_any_room() -> None:
    policy = SheddingPolicy(elevated=0, saturated=0, emergency=0, min_flow=0)
    refused = names(policy, jobs("acme", 3), acme=Standing(guaranteed=2))
    assert refused == ["acme-2"]


def test_some_of_every_priority_is_kept() -> None:
    policy = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=0.5)
    waiting = [*jobs("top", 9, 5), *jobs("mid", 9, 1), *jobs("low", 9, 0)]
    kept = {job.id for job in waiting} - set(names(policy, waiting))
    assert kept == {"top-0", "top-1", "mid-0", "low-0"}


def test_the_refused_are_told_why_with_numbers() -> None:
    standings = {"acme": Standing(guaranteed=1, held=1, usage=2_500_000)}
    [one] = shed(POLICY, EMERGENCY, 4, jobs("acme", 3, 7), standings)
    assert one.job.id == "acme-2"
    assert one.reason.code is ReasonCode.SHED
    assert (one.reason.limit, one.reason.used, one.reason.needed) == (2, 3, 1)
    assert one.reason.message == (
        "3 units wait and 2 may while the pressure is emergency: refused at priority 7, acme "
        "having held 2.5 units lately and holding 1 of 1 guaranteed"
    )


TENANTS = ["a", "b", "c", "d"]


@given(
    raw=st.lists(
        st.tuples(
            st.sampled_from(TENANTS), st.integers(-2, 2), st.integers(1, 4), st.integers(0, 100)
        ),
        max_size=60,
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
    raw: list[tuple[str, int, int, int]],
    standings: dict[str, Standing],
    level: PressureLevel,
    limit: int,
    min_flow: float,
) -> None:
    policy = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=min_flow)
    waiting = [Waiting(f"j{n}", *fields) for n, fields in enumerate(raw)]
    refused = [one.job for one in shed(policy, level, limit, waiting, standings)]
    gone = {job.id for job in refused}
    kept = [job for job in waiting if job.id not in gone]
    room = room_for(policy, level, limit)
    assert room is not None
    assert len(gone) == len(refused) == len(waiting) - len(kept)
    if sum(job.units for job in waiting) <= room:
        assert not refused
        return

    def usage(job: Waiting) -> int:
        return standings.get(job.tenant, Standing()).usage

    # Below its guarantee a tenant loses nothing that fits into it.
    promised = 0
    for tenant, standing in standings.items():
        left = max(0, standing.guaranteed - standing.held)
        has = sum(job.units for job in kept if job.tenant == tenant)
        lost = [job for job in refused if job.tenant == tenant]
        assert all(has + job.units > left for job in lost)
        promised += min(left, has)
    # No more is kept than there is room for, but for guarantees.
    assert sum(job.units for job in kept) <= max(room, promised)
    # The least important first.
    order = [(job.priority, -usage(job)) for job in refused]
    assert order == sorted(order)
    if min_flow == 0 and not any(standing.guaranteed for standing in standings.values()):
        for stays in kept:
            for goes in refused:
                assert (stays.priority, -usage(stays)) >= (goes.priority, -usage(goes))
    # Of the lowest priority something is kept, when one that has waited longest fits.
    if min_flow and not promised and waiting:
        lowest = min(job.priority for job in waiting)
        if lowest < max(job.priority for job in waiting):
            oldest = min(
                (job for job in waiting if job.priority == lowest),
                key=lambda job: (job.since_ms, job.id),
            )
            assert oldest in kept or oldest.units > room
    assert shed(policy, level, limit, list(reversed(waiting)), standings) == shed(
        policy, level, limit, waiting, standings
    )


def test_recent_usage_counts_half_after_the_half_life() -> None:
    usage = RecentUsage()
    usage.note(8, 0, 60_000)
    assert usage.at(60_000, 60_000) == 4 * MICRO
    usage.note(0, 60_000, 60_000)
    assert usage.at(120_000, 60_000) == 2 * MICRO
    usage.note(4, 50_000, 60_000)  # a clock set back counts for nothing
    assert usage.at(60_000, 60_000) == 4 * MICRO
