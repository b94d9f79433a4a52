"""A pool on a simulated clock: real ledgers, a real governor, and jobs that take simulated time.

A queue of events in the order of time. A job comes and asks the ledger of its tenant for a permit;
it waits as long as it takes, runs for its duration and gives the permit back. Ledgers and governor
tell each other what they tell each other as workflows: each message takes a time, a ledger sends
one only when the one before has arrived for a while, and begins when its tenant first asks.

What happens in the same millisecond is taken in this order: jobs that end, messages to ledgers,
messages to the governor, jobs that come, timers of ledgers, rounds of the governor.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final

from headgate.allocation.claims import Claim
from headgate.allocation.governor import Governor
from headgate.model.ledger import Acquire, Exchange, Holder, Outcome
from headgate.model.pool import Allocation, Demand
from headgate.quota import Ledger
from headgate.quota.demand import TELL_EVERY_MS
from headgate.simulate.conservation import conservation, settling_ms
from headgate.simulate.simulated_pool import POOL, RESOURCE, SimulatedPool
from headgate.simulate.workload import Job, Workload

DELAY_MS: Final = 20
"""How long a message takes between a ledger and the governor, unless told otherwise."""

Watch = Callable[[int], None]
"""Is told how many jobs have ended or have been refused."""

_END, _ALLOCATE, _DEMAND, _ARRIVE, _LEDGER_TIMER, _ROUND = range(6)
_FOREVER_MS: Final = 253_402_300_799_000
_STUCK_AFTER_MS: Final = 600_000
"""When no job runs or will come, and none has begun for so long, none will."""

_TELL_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class Simulation:
    """What became of the jobs.

    Attributes:
        workload: Which jobs.
        pool: In which pool.
        started_ms: When each job began, Unix time, in the order of the workload; None: never.
        refused: Jobs that could never have been granted, by number.
        stranded: Jobs that still waited when nothing could happen any more, by number.
        over_grants: Grants after which more was held than the capacity. Must be 0.
        violations: See ``Conservation``.
        violation_ms: Likewise.
        idle_while_waiting_ms: Its ``idle_ms``.
        bound_ms: See ``settling_ms``.
        rounds: Of the governor.
        messages: Between ledgers and governor, both ways.
    """

    workload: Workload
    pool: SimulatedPool
    started_ms: Sequence[int | None]
    refused: Sequence[int]
    stranded: Sequence[int]
    over_grants: int
    violations: int
    violation_ms: int
    idle_while_waiting_ms: int
    bound_ms: int
    rounds: int
    messages: int


def simulate(
    workload: Workload,
    pool: SimulatedPool,
    delay_ms: int = DELAY_MS,
    watch: Watch | None = None,
) -> Simulation:
    """Run the jobs of ``workload`` in ``pool``.

    The same arguments always give the same result.

    Args:
        workload: The jobs.
        pool: With its strategy. Tenants that it does not name have the default share.
        delay_ms: How long a message takes between a ledger and the governor.
        watch: Is told now and then how far it has come.
    """
    return _Run(workload, pool, delay_ms, watch).run()


class _Account:
    """A tenant of the pool: its ledger once it has begun, and what is known of its jobs.

    Attributes:
        ledger: None until the first job comes.
        claim: Its share.
        line: Its jobs that wait, by number, in their order.
        telling: A demand is on its way.
        told_ms: When one last arrived.
        timer_ms: When it is next looked at; 0: no timer is set.
    """

    __slots__ = ("claim", "ledger", "line", "telling", "timer_ms", "told_ms")

    def __init__(self, claim: Claim) -> None:
        self.ledger: Ledger | None = None
        self.claim = claim
        self.line: deque[int] = deque()
        self.telling = False
        self.told_ms = self.timer_ms = 0


class _Run:
    """One simulation, while it runs."""

    def __init__(
        self, workload: Workload, pool: SimulatedPool, delay_ms: int, watch: Watch | None
    ) -> None:
        self._workload = workload
        self._jobs = workload.jobs
        self._pool = pool
        self._delay_ms = delay_ms
        self._watch = watch
        self._accounts = self._open_accounts()
        self._governor = Governor.begin(POOL, pool.governor_settings(self._accounts), 1)
        self._telling: set[str] = set()
        self._told_sequence = 0
        self._round_ms: int | None = None
        self._events: list[tuple[int, int, int, Any]] = []
        self._count = 0  # of events ever, so that equals stay in order
        self._to_come = len(self._jobs)
        self._running = 0
        self._ended = 0
        self._held = 0
        self._last_begun_ms = 0
        self._over_grants = 0
        self._messages = 0
        self._started: list[int | None] = [None] * len(self._jobs)
        self._refused: list[int] = []

    def run(self) -> Simulation:
        """Let everything happen."""
        handlers = (
            self._end,
            self._allocate,
            self._demand,
            self._arrive,
            self._ledger_timer,
            self._round,
        )
        events, jobs = self._events, iter(enumerate(self._jobs))
        now_ms = self._jobs[0].at_ms if self._jobs else 0
        self._tell_ledgers(now_ms)
        # Of those that come only the next one is among the events: a short heap is a quick one.
        self._next_job(jobs)
        while events:
            at_ms, kind, _, what = heappop(events)
            if kind == _ARRIVE:
                self._next_job(jobs)
            if at_ms > now_ms:
                now_ms = at_ms
                if self._is_stuck(now_ms):
                    break
            handlers[kind](what, now_ms)
        for account in self._accounts.values():
            if account.ledger is not None:
                account.ledger.check_conservation()
        assert self._held == 0 and self._running == 0
        stranded = sorted(job for account in self._accounts.values() for job in account.line)
        bound_ms = settling_ms(self._pool.damping, self._pool.capacity, self._delay_ms)
        watch = conservation(
            self._workload, self._pool, self._started, self._refused, now_ms, bound_ms
        )
        return Simulation(
            workload=self._workload,
            pool=self._pool,
            started_ms=self._started,
            refused=self._refused,
            stranded=stranded,
            over_grants=self._over_grants,
            violations=watch.violations,
            violation_ms=watch.violation_ms,
            idle_while_waiting_ms=watch.idle_ms,
            bound_ms=bound_ms,
            rounds=self._governor.record.rounds,
            messages=self._messages,
        )

    def _open_accounts(self) -> dict[str, _Account]:
        pool = self._pool
        tenants = {*self._workload.tenants, *(one.tenant for one in pool.shares)}
        return {tenant: _Account(pool.claim(tenant)) for tenant in sorted(tenants)}

    def _next_job(self, jobs: Iterator[tuple[int, Job]]) -> None:
        for number, job in jobs:
            self._at(job.at_ms, _ARRIVE, number)
            return

    def _at(self, at_ms: int, kind: int, what: Any) -> None:
        self._count += 1
        heappush(self._events, (at_ms, kind, self._count, what))

    def _is_stuck(self, now_ms: int) -> bool:
        return (
            self._to_come == 0
            and self._running == 0
            and now_ms - self._last_begun_ms > _STUCK_AFTER_MS
        )

    # Jobs ------------------------------------------------------------------------------------

    def _arrive(self, number: int, now_ms: int) -> None:
        job = self._jobs[number]
        account = self._accounts[job.tenant]
        self._to_come -= 1
        self._last_begun_ms = now_ms
        ledger = account.ledger
        if ledger is None:
            settings = self._pool.ledger_settings(account.claim)
            ledger = account.ledger = Ledger.begin(job.tenant, settings, 1, _FOREVER_MS)
        request = Acquire(
            id=str(number),
            holder=Holder(workflow_id=f"job/{number}"),
            resource=RESOURCE,
            units=job.units,
            wait_until_ms=_FOREVER_MS,
        )
        reply = ledger.exchange(Exchange(gate="simulation", acquires=[request]), now_ms)
        outcome = reply.decisions[0].outcome
        if outcome is Outcome.GRANTED:
            self._begin(number, account, now_ms)
        elif outcome is Outcome.WAITING:
            account.line.append(number)
        else:
            self._refuse(number)
        self._after_ledger(job.tenant, account, now_ms)

    def _end(self, number: int, now_ms: int) -> None:
        job = self._jobs[number]
        account = self._accounts[job.tenant]
        ledger = account.ledger
        assert ledger is not None and str(number) in ledger.record.permits
        ledger.release(str(number), now_ms)
        self._held -= job.units
        self._running -= 1
        self._count_ended()
        self._after_ledger(job.tenant, account, now_ms)

    def _begin(self, number: int, account: _Account, now_ms: int) -> None:
        job = self._jobs[number]
        assert self._started[number] is None
        self._started[number] = self._last_begun_ms = now_ms
        self._running += 1
        self._held += job.units
        self._over_grants += self._held > self._pool.capacity
        self._at(now_ms + job.duration_ms, _END, number)

    def _refuse(self, number: int) -> None:
        self._refused.append(number)
        self._count_ended()

    def _count_ended(self) -> None:
        self._ended += 1
        if self._watch is not None and self._ended % _TELL_EVERY == 0:
            self._watch(self._ended)

    # Ledgers ---------------------------------------------------------------------------------

    def _after_ledger(self, tenant: str, account: _Account, now_ms: int) -> None:
        """Begin the jobs whose turn has come, and tell the governor what it has to know."""
        ledger = account.ledger
        assert ledger is not None
        for id in list(ledger.record.turned_away):
            ledger.woken(id)
            account.line.remove(int(id))
            self._refuse(int(id))
        if ledger.record.wakes:
            for id in list(ledger.record.wakes):
                ledger.woken(id)
                number = int(id)
                first = account.line.popleft()
                assert first == number, "a ledger serves in the order of arrival"
                self._begin(number, account, now_ms)
        if account.telling:
            return
        due_ms = now_ms if ledger.demands_due() else ledger.demands_due_at_ms()
        if due_ms is None:
            return
        due_ms = max(due_ms, account.told_ms + TELL_EVERY_MS)
        if due_ms > now_ms:
            if account.timer_ms != due_ms:
                account.timer_ms = due_ms
                self._at(due_ms, _LEDGER_TIMER, tenant)
            return
        account.telling = True
        self._messages += 1
        self._at(now_ms + self._delay_ms, _DEMAND, (tenant, ledger.demands()))

    def _ledger_timer(self, tenant: str, now_ms: int) -> None:
        # Only for demands: the quotas of a simulation have no rates, windows or reservations, and
        # no permit expires and no patience ends before its job does.
        account = self._accounts[tenant]
        if account.timer_ms == now_ms:
            account.timer_ms = 0
            self._after_ledger(tenant, account, now_ms)

    def _allocate(self, what: tuple[str, Allocation], now_ms: int) -> None:
        tenant, allocation = what
        account = self._accounts[tenant]
        self._telling.discard(tenant)
        if account.ledger is not None:
            account.ledger.allocate(allocation, now_ms)
            self._after_ledger(tenant, account, now_ms)
        self._governor.told(tenant, allocation.sequence, account.ledger is not None)
        if self._governor.record.members[tenant].to_tell:
            self._told_sequence = 0  # it has been given something else meanwhile
        self._after_governor(now_ms)

    # The governor ----------------------------------------------------------------------------

    def _demand(self, what: tuple[str, list[Demand]], now_ms: int) -> None:
        tenant, demands = what
        for demand in demands:
            self._governor.demand(demand, now_ms)
        account = self._accounts[tenant]
        account.telling, account.told_ms = False, now_ms
        assert account.ledger is not None
        account.ledger.demands_sent(demands)
        self._after_ledger(tenant, account, now_ms)
        self._after_governor(now_ms)

    def _round(self, _: None, now_ms: int) -> None:
        if self._round_ms == now_ms:
            self._round_ms = None
            self._governor.advance(now_ms)
            self._after_governor(now_ms)

    def _after_governor(self, now_ms: int) -> None:
        if self._governor.record.sequence != self._told_sequence:
            self._tell_ledgers(now_ms)
        due_ms = self._governor.next_deadline()
        if due_ms is not None:
            due_ms = max(due_ms, now_ms + 1)
            if self._round_ms is None or due_ms < self._round_ms:
                self._round_ms = due_ms
                self._at(due_ms, _ROUND, None)

    def _tell_ledgers(self, now_ms: int) -> None:
        self._told_sequence = self._governor.record.sequence
        for tenant in self._governor.to_tell():
            if tenant not in self._telling:
                self._telling.add(tenant)
                self._messages += 1
                message = (tenant, self._governor.allocation_of(tenant))
                self._at(now_ms + self._delay_ms, _ALLOCATE, message)
