"""A simulated pool: tiny workloads with known answers, and random ones with what must hold."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.allocation import Claim, Group
from headgate.model.pool import Damping, Strategy
from headgate.simulate.conservation import ConservationWatch, Standing, settling_ms
from headgate.simulate.courses import course
from headgate.simulate.figures import Waits, figures, jain, slowdown
from headgate.simulate.pool_simulation import Simulation, simulate
from headgate.simulate.simulated_pool import SimulatedPool
from headgate.simulate.workload import Job, Workload

DAMPING = Damping(round_ms=100, min_hold_ms=300, demand_half_life_ms=500)
FIRST_ANSWER_MS = 400
"""A governor that knows nobody yet has answered by then: two messages each way, and a round."""


def pool(capacity: int, *shares: Claim, strategy: Strategy = Strategy.EQUAL) -> SimulatedPool:
    return SimulatedPool(capacity, strategy, shares, damping=DAMPING)


def run(simulated: SimulatedPool, *jobs: Job) -> Simulation:
    return simulate(Workload(sorted(jobs, key=lambda job: job.at_ms)), simulated)


def held_at_most(simulation: Simulation) -> int:
    """Return the most that was held at once, reckoned from when jobs began alone."""
    steps: dict[int, int] = defaultdict(int)
    for job, started_ms in zip(simulation.workload.jobs, simulation.started_ms, strict=True):
        if started_ms is not None and job.duration_ms:
            steps[started_ms] += job.units
            steps[started_ms + job.duration_ms] -= job.units
    held = most = 0
    for at_ms in sorted(steps):
        held += steps[at_ms]
        most = max(most, held)
    return most


# Known answers ---------------------------------------------------------------------------------


def test_one_at_a_time_in_the_order_of_arrival() -> None:
    done = run(pool(1), *(Job(n, "a", 1, 1_000) for n in range(4)))
    first = done.started_ms[0]
    assert first is not None and first <= FIRST_ANSWER_MS
    assert list(done.started_ms) == [first + n * 1_000 for n in range(4)]
    of = figures(done)
    assert (of.completed, of.refused, of.stranded, of.over_grants) == (4, 0, 0, 0)
    assert of.makespan_ms == first + 4_000
    assert of.utilization == pytest.approx(4_000 / of.makespan_ms)


def test_nobody_waits_in_a_pool_that_is_large_enough() -> None:
    done = run(pool(100), *(Job(n * 2_000, "ab"[n % 2], 3, 5_000) for n in range(20)))
    waits = [s - job.at_ms for job, s in zip(done.workload.jobs, done.started_ms, strict=True) if s]
    assert max(waits) <= FIRST_ANSWER_MS
    assert figures(done).violations == 0


def test_two_who_want_everything_get_half_each() -> None:
    jobs = [Job(0, tenant, 1, 1_000) for tenant in "ab" for _ in range(100)]
    of = figures(run(pool(10), *jobs))
    assert of.tenants["a"].share == of.tenants["b"].share == 0.5
    assert of.tenants["a"].waits.mean == pytest.approx(of.tenants["b"].waits.mean, rel=0.2)
    assert of.slowdown_jain > 0.99
    assert of.utilization > 0.9


def test_weights_decide_who_is_served_first() -> None:
    jobs = [Job(0, tenant, 1, 1_000) for tenant in "ab" for _ in range(90)]
    heavy = pool(9, Claim("a", 0, weight=2), strategy=Strategy.PROPORTIONAL)
    of = figures(run(heavy, *jobs))
    assert of.tenants["a"].waits.mean < of.tenants["b"].waits.mean
    # a has 6 of 9 until its 90 seconds of work are done, after 15.
    assert of.tenants["a"].waits.longest == pytest.approx(14_000, rel=0.15)
    assert of.completed == 180


def test_the_higher_tier_goes_first() -> None:
    jobs = [Job(0, tenant, 1, 1_000) for tenant in "ab" for _ in range(40)]
    tiers = pool(4, Claim("b", 0, priority=1), strategy=Strategy.PRIORITY)
    of = figures(run(tiers, *jobs))
    assert of.tenants["b"].waits.longest < 12_000
    assert of.tenants["a"].waits.mean > of.tenants["b"].waits.mean


def test_a_fixed_part_is_never_passed() -> None:
    jobs = [Job(0, "a", 1, 1_000) for _ in range(12)]
    of = figures(run(pool(10, Claim("a", 0, fixed=2), strategy=Strategy.FIXED), *jobs))
    assert of.waits.longest >= 5_000
    assert of.utilization == pytest.approx(0.2, abs=0.02)
    assert of.violations == 0  # what is not fixed for anybody is for nobody


@pytest.mark.parametrize(
    ("simulated", "fits"),
    [
        (pool(4), 4),
        (pool(9, Claim("a", 0, maximum=4)), 4),
        (pool(9, Claim("a", 0, fixed=4), strategy=Strategy.FIXED), 4),
        (
            pool(9, Claim("a", 0, guaranteed=1, borrow_limit=3), strategy=Strategy.RESERVED),
            4,
        ),
        (
            pool(9, Claim("b", 0, guaranteed=5, lend_limit=0), strategy=Strategy.RESERVED),
            4,
        ),
        (
            SimulatedPool(
                9, Strategy.PROPORTIONAL, (Claim("a", 0, group="g"),), (Group("g", maximum=4),)
            ),
            4,
        ),
    ],
)
def test_what_can_never_fit_is_refused_and_what_fits_runs(
    simulated: SimulatedPool, fits: int
) -> None:
    done = run(simulated, Job(0, "a", fits, 10), Job(1, "a", fits + 1, 10), Job(2, "a", 1, 10))
    assert list(done.refused) == [1]
    assert done.started_ms[1] is None
    assert done.started_ms[0] is not None and done.started_ms[2] is not None


def test_jobs_without_duration_run_too() -> None:
    done = run(pool(1), *(Job(0, "a", 1, 0) for _ in range(5)))
    assert figures(done).completed == 5
    assert figures(done).utilization == 0


def test_an_unlimited_pool_lets_everything_run_and_says_so() -> None:
    done = run(pool(1, strategy=Strategy.UNLIMITED), *(Job(0, "a", 1, 1_000) for _ in range(5)))
    assert figures(done).completed == 5
    assert done.over_grants == 4


def test_a_workload_without_jobs_is_nothing() -> None:
    of = figures(run(pool(1)))
    assert (of.jobs, of.utilization, of.slowdown_jain, of.waits.mean) == (0, 0.0, 1.0, 0.0)


def test_jobs_must_come_in_order_and_make_sense() -> None:
    with pytest.raises(ValueError, match="sort by at_ms"):
        Workload([Job(2, "a", 1, 1), Job(1, "a", 1, 1)])
    with pytest.raises(ValueError, match="0 units"):
        Workload([Job(2, "a", 0, 1)])


# What must always hold -------------------------------------------------------------------------

jobs = st.lists(
    st.builds(
        Job,
        at_ms=st.integers(0, 20_000),
        tenant=st.sampled_from("abcd"),
        units=st.integers(1, 7),
        duration_ms=st.integers(0, 8_000),
    ),
    min_size=1,
    max_size=40,
)
shares = st.fixed_dictionaries(
    {},
    optional={
        name: st.builds(
            Claim,
            tenant=st.just(name),
            demand=st.just(0),
            weight=st.sampled_from([0, 1, 3]),
            priority=st.integers(0, 1),
            guaranteed=st.integers(0, 3),
            borrow_limit=st.none() | st.integers(0, 6),
            lend_limit=st.none() | st.integers(0, 3),
            maximum=st.none() | st.integers(0, 8),
            fixed=st.none() | st.integers(0, 6),
        )
        for name in "abc"
    },
)


@settings(max_examples=60, deadline=None)
@given(
    jobs=jobs,
    shares=shares,
    capacity=st.integers(1, 10),
    strategy=st.sampled_from([s for s in Strategy if s is not Strategy.UNLIMITED]),
    delay_ms=st.sampled_from([1, 20, 700]),
)
def test_every_job_ends_once_and_never_is_more_held_than_there_is(
    jobs: list[Job], shares: dict[str, Claim], capacity: int, strategy: Strategy, delay_ms: int
) -> None:
    jobs.sort(key=lambda job: job.at_ms)
    simulated = SimulatedPool(capacity, strategy, tuple(shares.values()), damping=DAMPING)
    done = simulate(Workload(jobs), simulated, delay_ms)
    started = {n for n, at_ms in enumerate(done.started_ms) if at_ms is not None}
    assert len(started) + len(done.refused) + len(done.stranded) == len(jobs)
    assert started | set(done.refused) | set(done.stranded) == set(range(len(jobs)))
    assert done.over_grants == 0
    assert held_at_most(done) <= capacity
    for tenant in "abcd":
        begun = [
            (at_ms, job.at_ms)
            for job, at_ms in zip(jobs, done.started_ms, strict=True)
            if job.tenant == tenant and at_ms is not None
        ]
        assert all(at_ms >= arrival for at_ms, arrival in begun)
        assert begun == sorted(begun, key=lambda one: one[0])
    again = simulate(Workload(jobs), simulated, delay_ms)
    assert again == done
    of = figures(done)
    assert sum(one.jobs for one in of.tenants.values()) == len(jobs)
    assert sum(one.share for one in of.tenants.values()) == pytest.approx(
        1.0 if any(jobs[n].duration_ms for n in started) else 0.0
    )
    assert 0 <= of.utilization <= 1
    assert 0 < of.slowdown_jain <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(
    jobs=jobs,
    capacity=st.integers(1, 6),
    strategy=st.sampled_from([Strategy.EQUAL, Strategy.PROPORTIONAL, Strategy.MAX_LIMIT]),
)
def test_jobs_of_one_unit_always_get_their_turn(
    jobs: list[Job], capacity: int, strategy: Strategy
) -> None:
    single = [Job(job.at_ms, job.tenant, 1, job.duration_ms) for job in jobs]
    done = run(pool(capacity, strategy=strategy), *single)
    assert not done.stranded and not done.refused
    assert done.violations == 0


# Figures ---------------------------------------------------------------------------------------


def test_percentiles_are_waits_of_jobs() -> None:
    assert Waits.of([]) == Waits(0.0, 0, 0, 0)
    assert Waits.of([7]) == Waits(7.0, 7, 7, 7)
    assert Waits.of(list(range(1, 101))) == Waits(50.5, 50, 95, 100)
    assert Waits.of([4, 1, 3, 2]) == Waits(2.5, 2, 4, 4)


def test_slowdown_is_bounded() -> None:
    assert slowdown(0, 5) == 1
    assert slowdown(10_000, 0) == 1
    assert slowdown(30_000, 10_000) == 4
    assert slowdown(60_000, 60_000) == 2


def test_jains_index() -> None:
    assert jain([]) == 1
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_the_course_is_what_was_held() -> None:
    done = run(pool(4), Job(0, "a", 2, 4_000), Job(0, "b", 1, 2_000))
    begin_ms = done.started_ms[0]
    assert begin_ms is not None and done.started_ms[1] == begin_ms
    its = course(done, begin_ms, begin_ms + 8_000, 8, ["a", "nobody"])
    assert its.total == pytest.approx([3, 3, 2, 2, 0, 0, 0, 0])
    assert its.tenants["a"] == pytest.approx([2, 2, 2, 2, 0, 0, 0, 0])
    assert its.tenants["nobody"] == [0] * 8
    halves = course(done, begin_ms + 500, begin_ms + 3_500, 2, ["b"])
    assert halves.total == pytest.approx([3, 2])
    assert halves.tenants["b"] == pytest.approx([1, 0])


# Work conservation -----------------------------------------------------------------------------


def standing(name: str, held: int, waiting: int, head: int | None = None) -> Standing:
    claim = pool(10).claim(name)
    return Standing(claim, held, held + waiting, head, waiting)


def test_idle_units_that_a_waiter_should_have_are_noticed_after_the_bound() -> None:
    watch = ConservationWatch(pool(10), bound_ms=100)
    both = {"a": standing("a", 6, 0), "b": standing("b", 0, 4, head=7)}
    watch.look(both, 4, 0)
    watch.look(both, 4, 60)
    watch.end(100)
    assert (watch.violations, watch.violation_ms, watch.idle_ms) == (0, 0, 100)
    watch.look(both, 4, 1_000)
    watch.look(both, 4, 1_050)
    watch.look(both, 4, 1_200)
    watch.end(1_250)
    assert (watch.violations, watch.violation_ms, watch.idle_ms) == (1, 150, 350)


def test_what_is_owed_to_another_is_not_idle() -> None:
    watch = ConservationWatch(pool(10), bound_ms=100)
    # a has more than its half; the 3 units are kept until there are enough of them for b.
    both = {"a": standing("a", 7, 2, head=3), "b": standing("b", 0, 5, head=7)}
    watch.look(both, 3, 0)
    watch.end(1_000)
    assert watch.violations == 0
    assert watch.idle_ms == 1_000


def test_a_new_head_is_a_new_stretch() -> None:
    watch = ConservationWatch(pool(10), bound_ms=100)
    for n in range(10):
        watch.look({"b": standing("b", 0, 4, head=n)}, 10, n * 90)
    watch.end(900)
    assert watch.violations == 0
    assert watch.idle_ms == 900


def test_what_a_guarantee_holds_back_is_not_idle() -> None:
    kept = pool(10, Claim("a", 0, guaranteed=8, lend_limit=0), strategy=Strategy.RESERVED)
    watch = ConservationWatch(kept, bound_ms=100)
    watch.look({"b": Standing(kept.claim("b"), 1, 4, 5, 3)}, 9, 0)
    watch.end(1_000)
    assert watch.violations == 0


def test_the_bound_follows_from_the_damping() -> None:
    calm = settling_ms(Damping(), 128, 20)
    quick = settling_ms(Damping(demand_half_life_ms=1, min_hold_ms=0, share_per_round=1), 128, 20)
    assert quick < 2_500 < calm < 60_000
