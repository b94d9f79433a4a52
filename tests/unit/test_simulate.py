"""A simulated pool: tiny workloads with known answers, and random ones with what must hold."""

import random
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.allocation import Claim, Group, divide
from headgate.allocation.governor import Governor
from headgate.model.pool import Damping, Strategy
from headgate.simulate.conservation import conservation, counted_guarantees, settling_ms
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


TWO = [Job(0, "a", 6, 1_000), Job(0, "b", 4, 1_000)]


def judged(
    simulated: SimulatedPool, jobs: list[Job], started_ms: list[int | None], bound_ms: int = 100
) -> tuple[int, int, int]:
    """Return violations, their time and the time with a first in line that would have fitted."""
    end_ms = max(
        (at_ms + job.duration_ms for job, at_ms in zip(jobs, started_ms, strict=True) if at_ms),
        default=0,
    )
    of = conservation(Workload(jobs), simulated, started_ms, (), max(end_ms, 5_000), bound_ms)
    return of.violations, of.violation_ms, of.idle_ms


def test_a_job_that_fits_is_to_begin_within_the_bound() -> None:
    assert judged(pool(10), TWO, [0, 100]) == (0, 0, 100)
    assert judged(pool(10), TWO, [0, 250]) == (1, 150, 250)
    assert judged(pool(10), TWO, [0, None]) == (1, 4_900, 5_000)


def test_a_job_waits_while_room_is_made_for_one_that_came_earlier() -> None:
    jobs = [Job(0, "a", 7, 1_000), Job(10, "b", 5, 1_000), Job(20, "c", 3, 1_000)]
    assert judged(pool(10), jobs, [0, 1_000, 1_000]) == (0, 0, 980)
    # As soon as the earlier one has begun, or when it fits itself, there is no such reason.
    assert judged(pool(10), jobs, [0, 1_000, 2_500])[:2] == (1, 1_400)
    assert judged(pool(10), jobs, [0, 1_300, 1_000])[:2] == (1, 200)


def test_a_job_waits_while_room_is_made_for_one_with_a_better_right() -> None:
    jobs = [Job(0, "a", 7, 1_000), Job(10, "c", 3, 1_000), Job(20, "b", 5, 1_000)]
    started: list[int | None] = [0, 1_000, 1_000]
    assert judged(pool(10), jobs, started)[0] == 1
    owed = pool(10, Claim("b", 0, guaranteed=5), strategy=Strategy.RESERVED)
    assert judged(owed, jobs, started)[0] == 0
    first = pool(10, Claim("b", 0, priority=1), strategy=Strategy.PRIORITY)
    assert judged(first, jobs, started)[0] == 0
    heavy = pool(10, Claim("b", 0, weight=4), strategy=Strategy.PROPORTIONAL)
    assert judged(heavy, jobs, started)[0] == 0
    # Nothing is gathered for a job that its own limits keep back.
    limited = pool(10, Claim("b", 0, weight=4, maximum=4), strategy=Strategy.PROPORTIONAL)
    assert judged(limited, jobs, started)[0] == 1


def test_a_limit_is_a_reason_to_wait() -> None:
    jobs = [Job(0, "a", 2, 1_000), Job(0, "a", 2, 1_000)]
    assert judged(pool(10), jobs, [0, 1_000])[0] == 1
    assert judged(pool(10, Claim("a", 0, maximum=3)), jobs, [0, 1_000])[0] == 0
    fixed = pool(10, Claim("a", 0, fixed=3), strategy=Strategy.FIXED)
    assert judged(fixed, jobs, [0, 1_000])[0] == 0
    inside = SimulatedPool(
        10,
        Strategy.EQUAL,
        (Claim("a", 0, group="g"), Claim("b", 0, group="g")),
        (Group("g", maximum=3),),
        damping=DAMPING,
    )
    mixed = [Job(0, "a", 2, 1_000), Job(0, "b", 2, 1_000)]
    assert judged(inside, mixed, [0, 1_000])[0] == 0
    assert judged(pool(10), mixed, [0, 1_000])[0] == 1


def test_what_a_guarantee_holds_back_is_not_idle() -> None:
    kept = pool(10, Claim("a", 0, guaranteed=8, lend_limit=0), strategy=Strategy.RESERVED)
    jobs = [Job(0, "b", 2, 1_000), Job(0, "b", 1, 1_000)]
    assert judged(kept, jobs, [0, 1_000]) == (0, 0, 0)
    lends = pool(10, Claim("a", 0, guaranteed=8, lend_limit=1), strategy=Strategy.RESERVED)
    assert judged(lends, jobs, [0, 1_000])[0] == 1


def test_guarantees_beyond_the_capacity_count_as_their_share_of_it() -> None:
    claims = [Claim("a", 0, guaranteed=10, borrow_limit=0), Claim("b", 0, guaranteed=10)]
    # Each counts as 5, and one of them may not borrow.
    jobs = [Job(0, "a", 5, 1_000), Job(0, "a", 2, 1_000)]
    assert judged(pool(10, *claims, strategy=Strategy.RESERVED), jobs, [0, 1_000])[0] == 0
    assert judged(pool(20, *claims, strategy=Strategy.RESERVED), jobs, [0, 1_000])[0] == 1
    # Of the 5 of the other, all are kept from others, and no more.
    keeping = [Claim("a", 0, guaranteed=10, lend_limit=0), Claim("b", 0, guaranteed=10)]
    for units, violations in ((5, 1), (6, 0)):
        one = [Job(0, "b", units, 1_000)]
        assert judged(pool(10, *keeping, strategy=Strategy.RESERVED), one, [500])[0] == violations


@given(
    guaranteed=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([None, "g", "h"])), max_size=5
    ),
    group=st.integers(0, 9),
    limit=st.none() | st.integers(0, 9),
    maximum=st.none() | st.integers(0, 9),
    capacity=st.integers(0, 20),
)
def test_the_judge_counts_guarantees_as_the_solver_does(
    guaranteed: list[tuple[int, str | None]],
    group: int,
    limit: int | None,
    maximum: int | None,
    capacity: int,
) -> None:
    groups = (
        Group("g", guaranteed=group, borrow_limit=limit),
        Group("h", parent="g", maximum=maximum),
    )
    claims = {
        f"t{number}": Claim(f"t{number}", 9, guaranteed=units, group=name)
        for number, (units, name) in enumerate(guaranteed)
    }
    simulated = SimulatedPool(capacity, Strategy.RESERVED, tuple(claims.values()), groups)
    tenants, counted = counted_guarantees(simulated, claims)
    division = divide(capacity, Strategy.RESERVED, list(claims.values()), groups)
    assert tenants == {t: division.scaled.get(t, one.guaranteed) for t, one in claims.items()}
    assert division.scaled_groups.items() <= counted.items()


def passed_over_at(
    simulated: SimulatedPool, jobs: list[Job], started_ms: list[int], now_ms: int
) -> set[int]:
    """Say anew from the definition in docs/simulation.md who is passed over; slow and plain."""
    runs = [
        number
        for number, (job, at_ms) in enumerate(zip(jobs, started_ms, strict=True))
        if at_ms <= now_ms < at_ms + job.duration_ms
    ]
    waits = [
        number
        for number, (job, at_ms) in enumerate(zip(jobs, started_ms, strict=True))
        if job.at_ms <= now_ms < at_ms
    ]
    claims = {job.tenant: simulated.claim(job.tenant) for job in jobs}
    claims |= {one.tenant: simulated.claim(one.tenant) for one in simulated.shares}
    whole = sum(claim.guaranteed for claim in claims.values())
    if whole > simulated.capacity:  # each counts as its proportional share
        exact = {t: Fraction(c.guaranteed * simulated.capacity, whole) for t, c in claims.items()}
        units = {tenant: int(share) for tenant, share in exact.items()}
        rests = sorted(exact, key=lambda tenant: (units[tenant] - exact[tenant], tenant))
        for tenant in rests[: simulated.capacity - sum(units.values())]:
            units[tenant] += 1
        claims = {t: replace(c, guaranteed=units[t]) for t, c in claims.items()}
    held = {
        tenant: sum(jobs[n].units for n in runs if jobs[n].tenant == tenant) for tenant in claims
    }
    wanted = {
        tenant: held[tenant] + sum(jobs[n].units for n in waits if jobs[n].tenant == tenant)
        for tenant in claims
    }
    heads = {jobs[n].tenant: n for n in reversed(waits)}
    free = simulated.capacity - sum(held.values())

    def idle_for(tenant: str) -> int:
        kept = 0
        for other, claim in claims.items():
            if other != tenant and claim.lend_limit is not None:
                unused = max(0, claim.guaranteed - wanted[other])
                kept += max(0, unused - claim.lend_limit)
        return free - kept

    def allowed(tenant: str) -> bool:
        claim, after = claims[tenant], held[tenant] + jobs[heads[tenant]].units
        if claim.maximum is not None and after > claim.maximum:
            return False
        if claim.borrow_limit is not None and after > claim.guaranteed + claim.borrow_limit:
            return False
        by_weight = simulated.strategy is not Strategy.FIXED
        return not (by_weight and claim.weight == 0 and after > claim.guaranteed)

    def before(other: str, tenant: str) -> bool:
        if heads[other] < heads[tenant]:
            return True
        beyond = {
            one: max(0, held[one] + jobs[heads[one]].units - claims[one].guaranteed)
            for one in (other, tenant)
        }
        if min(beyond.values()) == 0:
            return beyond[other] == 0 and beyond[tenant] > 0
        by_tier = simulated.strategy is Strategy.PRIORITY
        if by_tier and claims[other].priority != claims[tenant].priority:
            return claims[other].priority > claims[tenant].priority
        weights = {one: claims[one].weight for one in (other, tenant)}
        if simulated.strategy is Strategy.FIXED:
            weights = {one: claims[one].fixed or 0 for one in (other, tenant)}
        return beyond[other] * weights[tenant] < beyond[tenant] * weights[other]

    found = set()
    for tenant, job in heads.items():
        if not allowed(tenant) or jobs[job].units > idle_for(tenant) or free <= 0:
            continue
        if not any(
            allowed(other) and jobs[heads[other]].units > idle_for(other) and before(other, tenant)
            for other in heads
            if other != tenant
        ):
            found.add(job)
    return found


@settings(max_examples=80, deadline=None)
@given(
    jobs=jobs,
    shares=shares,
    capacity=st.integers(1, 10),
    strategy=st.sampled_from([s for s in Strategy if s is not Strategy.UNLIMITED]),
    bound_ms=st.sampled_from([0, 300, 2_000]),
    data=st.data(),
)
def test_the_count_is_what_the_definition_says_moment_by_moment(
    jobs: list[Job],
    shares: dict[str, Claim],
    capacity: int,
    strategy: Strategy,
    bound_ms: int,
    data: st.DataObject,
) -> None:
    jobs.sort(key=lambda job: job.at_ms)
    simulated = SimulatedPool(capacity, strategy, tuple(shares.values()), damping=DAMPING)
    # Any times will do, as long as the jobs of a tenant begin in their order.
    started: list[int] = []
    last_ms: dict[str, int] = {}
    for job in jobs:
        begin_ms = max(job.at_ms, last_ms.get(job.tenant, 0)) + data.draw(st.integers(0, 3_000))
        last_ms[job.tenant] = begin_ms
        started.append(begin_ms)
    ends = [at_ms + job.duration_ms for job, at_ms in zip(jobs, started, strict=True)]
    moments = sorted({*(job.at_ms for job in jobs), *started, *ends})
    since: dict[int, int] = {}
    lengths: list[int] = []
    for now_ms in moments:
        passed_over = passed_over_at(simulated, jobs, started, now_ms)
        lengths += [now_ms - since.pop(n) for n in [*since] if n not in passed_over]
        for number in passed_over:
            since.setdefault(number, now_ms)
    assert not since
    of = conservation(Workload(jobs), simulated, started, (), max(ends), bound_ms)
    over = [length - bound_ms for length in lengths if length > bound_ms]
    assert (of.violations, of.violation_ms) == (len(over), sum(over))


@pytest.mark.parametrize("strategy", list(Strategy))
def test_tenants_whose_ledgers_do_not_run_yet_cost_nothing(strategy: Strategy) -> None:
    # Hundreds whose only job comes an hour later: each is asked once what it holds. Without a
    # ledger it is not told again and again that it has nothing, however long the others are busy.
    first = [Job(n * 1_000, "early", 1, 500) for n in range(20)]
    later = [Job(3_600_000, f"late-{n:03}", 1, 10) for n in range(300)]
    listed = (Claim("early", 0, fixed=2),)
    begun = Workload(first + later)
    done = simulate(begun, SimulatedPool(2, strategy, listed, damping=DAMPING))
    assert figures(done).completed == (20 if strategy is Strategy.FIXED else 320)
    assert done.messages < 10 * 320
    assert done.rounds < 1_500


def test_the_bound_follows_from_the_damping() -> None:
    calm = settling_ms(Damping(), 128, 20)
    quick = settling_ms(Damping(demand_half_life_ms=1, min_hold_ms=0, share_per_round=1), 128, 20)
    assert quick < 2_500 < calm < 60_000


@pytest.mark.parametrize("strategy", [s for s in Strategy if s is not Strategy.UNLIMITED])
def test_what_a_governor_keeps_from_round_to_round_changes_nothing(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(3)
    tenants = [f"t{number}" for number in range(12)]
    shares = tuple(
        Claim(t, 0, weight=1 + n % 3, priority=n % 2, guaranteed=n % 4 == 0, fixed=4)
        for n, t in enumerate(tenants)
    )
    jobs = [
        Job(chance.randrange(120_000), chance.choice(tenants), chance.choice([1, 1, 2, 4]), 6_000)
        for _ in range(250)
    ]
    kept = run(pool(8, *shares, strategy=strategy), *jobs)
    divide_now = Governor._divide

    def divide_anew(self: Governor, now_ms: int) -> None:
        Governor.__init__(self, self.record)  # as after continue-as-new
        divide_now(self, now_ms)

    monkeypatch.setattr(Governor, "_divide", divide_anew)
    assert run(pool(8, *shares, strategy=strategy), *jobs).started_ms == kept.started_ms
