"""The state machine of a breaker: reports and time in, verdicts and transitions out."""

from collections.abc import Callable, Mapping
from typing import Final

from headgate.alerts.desk import Desk
from headgate.breaker import affected
from headgate.breaker.record import BreakerRecord, Probe, Reporter
from headgate.breaker.rows import count_row
from headgate.breaker.rules import report_every_ms, witnesses
from headgate.breaker.states import OVERRIDE_ALLOWS, STATES
from headgate.breaker.watch import Watch
from headgate.breaker.windows import carried_over, window_for
from headgate.limits import begin_fleet, observe
from headgate.model.breaker import (
    OUTCOME_SPAN_MS,
    UNKNOWN_EPOCH,
    Allow,
    BreakerState,
    BreakerView,
    CallOutcome,
    DependencyNews,
    OutcomeBucket,
    OutcomeSpan,
    ProbeOutcome,
    ProbeReply,
    ProbeRequest,
    Report,
    Transition,
    Verdict,
)
from headgate.model.limits import CallSummary
from headgate.model.policy import CountWindow, TimeWindow
from headgate.model.settings import BreakerSettings

REVISIONS_PER_INCARNATION: Final = 1_000_000_000
EPOCHS_PER_INCARNATION: Final = 1_000_000
MAX_TRANSITIONS_KEPT: Final = 50
MAX_UNSAVED_KEPT: Final = 500
"""Transitions that wait for Postgres; in a longer outage the oldest are left out of the history."""

MAX_SPANS_KEPT: Final = 720
"""Outcome spans that wait for Postgres: two hours of them."""

MAX_PROBE_ANSWERS: Final = 2_000
"""Probe ids of one epoch that are known again; so many only when outcomes are ignored for long."""

REPORTER_TTL_MS: Final = 900_000
"""A gate that has been silent for so long, and for the window, is not told of verdicts any more."""

MAX_WITNESSES: Final = 1_000
"""Silent gates that are remembered as witnesses; a quorum cannot be larger."""

MAX_STEPS: Final = 40
_UNTOLD: Final = -1
KEEPS_CALLS_AWAY: Final = (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.FORCED_OPEN)


def _middle() -> float:
    return 0.5


class Breaker:
    """The breaker of one downstream: every decision a function of its record, an event and time.

    Times are Unix milliseconds. No method raises on what a gate sends.

    Args:
        record: All it remembers; may be stored at any time between two calls.
        chance: Gives a number from 0 to 1, for the jitter of the open time; none by default.
        is_quiet: See ``Watch``.
    """

    def __init__(
        self,
        record: BreakerRecord,
        chance: Callable[[], float] = _middle,
        *,
        is_quiet: bool = True,
    ) -> None:
        self.record = record
        self.watch = Watch(record, is_quiet=is_quiet)
        self._chance = chance

    @classmethod
    def begin(
        cls,
        downstream: str,
        settings: BreakerSettings,
        incarnation: int,
        now_ms: int,
        chance: Callable[[], float] = _middle,
        *,
        is_quiet: bool = True,
    ) -> "Breaker":
        """Return a closed breaker without a past."""
        record = BreakerRecord(
            downstream=downstream,
            settings=settings,
            window=window_for(settings.policy),
            epoch=incarnation * EPOCHS_PER_INCARNATION,
            revision=incarnation * REVISIONS_PER_INCARNATION,
            incarnation=incarnation,
            since_ms=now_ms,
        )
        return cls(record, chance, is_quiet=is_quiet)

    @classmethod
    def restore(
        cls,
        record: BreakerRecord,
        incarnation: int,
        now_ms: int,
        chance: Callable[[], float] = _middle,
        *,
        is_quiet: bool = True,
    ) -> "Breaker":
        """Go on from a saved record, above every epoch and revision there may have been.

        The state, the window and the open time stay as they were. The probes of a half-open
        breaker are gone with the epoch, so it asks for new ones.
        """
        record.incarnation = incarnation
        # Usually that of the incarnation; higher when it had to rise above a later state.
        blocks = max(incarnation, record.epoch // EPOCHS_PER_INCARNATION + 1)
        record.epoch = blocks * EPOCHS_PER_INCARNATION
        record.revision = incarnation * REVISIONS_PER_INCARNATION
        record.half_open_epoch = record.epoch
        record.told_dependents.clear()
        record.told_pools.clear()
        breaker = cls(record, chance, is_quiet=is_quiet)
        breaker._forget_silent_reporters(now_ms)
        if record.state is BreakerState.HALF_OPEN:
            breaker._clear_probes()
            record.until_ms = now_ms + record.policy.half_open_max_ms
        breaker.advance(now_ms)
        return breaker

    # What comes in ---------------------------------------------------------------------------

    def report(self, report: Report, now_ms: int) -> bool:
        """Count what a gate has seen; a report that was counted before changes nothing.

        Returns:
            Whether it was routine: calls that succeeded while all is well.
        """
        record = self.record
        epoch, gates = record.epoch, len(record.reporters)
        self._forget_silent_reporters(now_ms)
        reporter = record.reporters.setdefault(
            report.gate, Reporter(task_queue=report.task_queue, seen_at_ms=now_ms)
        )
        reporter.seen_at_ms = now_ms
        if not reporter.is_new(report.seq):
            return True
        record.revision += 1
        self.advance(now_ms)
        for bucket in report.buckets:
            self._count(bucket, reporter, now_ms)
        for probe in report.probes:
            self._count_probe(probe, now_ms)
        if report.calls is not None:
            self._limit(report.calls, now_ms)
        if report.affected:
            affected.count(record.affected, report.affected, now_ms)
        STATES[record.state].on_outcomes(self, now_ms)
        self.conclude(now_ms)
        return (
            (record.epoch, len(record.reporters)) == (epoch, gates)
            and record.state is BreakerState.CLOSED
            and not report.probes
            and not any(bucket.failures or bucket.slow for bucket in report.buckets)
        )

    def lease_probes(self, request: ProbeRequest, now_ms: int) -> ProbeReply:
        """Lease as many of the asked-for probes as the half-open budget still has.

        At most ``policy.probes`` are in flight or settled in one epoch, in the whole fleet.
        """
        self.advance(now_ms)
        record = self.record
        granted: list[str] = []
        deadline: int | None = None
        if self.allow == "probes" and request.epoch == record.epoch:
            for id in request.ids:
                if id not in record.probe_answers and self._probe_is_free():
                    deadline_ms = now_ms + record.policy.probe_deadline_ms
                    record.probes[id] = Probe(request.gate, deadline_ms)
                    record.probe_answers = [*record.probe_answers, id][-MAX_PROBE_ANSWERS:]
                    record.revision += 1
                if id in record.probes:
                    granted.append(id)
                    deadline_ms = record.probes[id].deadline_ms
                    deadline = deadline_ms if deadline is None else min(deadline, deadline_ms)
        return ProbeReply(granted=granted, deadline_ms=deadline, verdict=self.verdict())

    def configure(self, settings: BreakerSettings, now_ms: int) -> None:
        """Take a new policy: it judges what there is, the window and the probes, at once."""
        self.advance(now_ms)
        record = self.record
        if settings.policy.window != record.policy.window:
            record.window = carried_over(record.window, settings.policy, now_ms)
        record.settings = settings
        for name in set(record.heard_dependencies) - set(settings.depends_on):
            del record.heard_dependencies[name]
            record.open_dependencies.pop(name, None)
        if settings.limit is None or settings.limit.concurrency is None:
            record.fleet = None
        for name in set(record.told_pools) - set(settings.pools):
            del record.told_pools[name]
        record.revision += 1
        record.told_revision = record.revision
        STATES[record.state].on_outcomes(self, now_ms)
        self.conclude(now_ms)

    def rise_above(self, revision: int) -> None:
        """Take an epoch that no breaker has had which got as far as ``revision``.

        For a breaker that was set back in time: what it decides from here on is the truth, and
        gates must not take it for older than what they heard before. An epoch is never above the
        revision, since whatever raises the one raises the other.
        """
        record = self.record
        record.epoch = max(record.epoch, revision + 1)
        record.revision = max(record.revision, record.epoch)

    def hear(self, news: DependencyNews) -> None:
        """Take in whether a dependency is open; while one is, failures here are its failures."""
        record = self.record
        if news.downstream not in record.settings.depends_on:
            return
        if news.epoch <= record.heard_dependencies.get(news.downstream, UNKNOWN_EPOCH):
            return
        record.heard_dependencies[news.downstream] = news.epoch
        if news.is_open:
            record.open_dependencies[news.downstream] = news.epoch
        else:
            record.open_dependencies.pop(news.downstream, None)
        record.revision += 1

    def miss(self, dependency: str) -> None:
        """Take in that nobody governs a dependency any more: it excuses nothing."""
        if self.record.open_dependencies.pop(dependency, None) is not None:
            self.record.revision += 1

    def advance(self, now_ms: int) -> None:
        """Let time do what it does: end an override, an open time, HALF_OPEN, a ramp."""
        override = self.record.override
        if override is not None and override.until_ms is not None and now_ms >= override.until_ms:
            self.lift("expiry", f"the time set by {override.actor} is over", None, now_ms)
        cut = self.record.throttle
        if cut is not None and cut.until_ms is not None and now_ms >= cut.until_ms:
            self.unthrottle("expiry", f"the throttle set by {cut.actor} is over", None, now_ms)
        STATES[self.record.state].on_time(self, now_ms)
        self.conclude(now_ms)

    # What can be asked -----------------------------------------------------------------------

    @property
    def desk(self) -> Desk:
        """Where alerts go out from."""
        return self.watch.desk

    @property
    def allow(self) -> Allow:
        """What passes now."""
        record = self.record
        if record.override is not None:
            return OVERRIDE_ALLOWS[record.override.mode]
        allow = STATES[record.state].allow
        return "ramp" if allow == "all" and record.throttle is not None else allow

    @property
    def keeps_calls_away(self) -> bool:
        """Whether those that depend on this downstream should expect failures."""
        return self.record.effective in KEEPS_CALLS_AWAY

    def untold_pools(self) -> list[str]:
        """Return the pools whose governors have yet to be told the fleet's limit as it is now."""
        told, limit = self.record.told_pools, self.fleet_limit
        return [name for name in self.record.settings.pools if told.get(name, _UNTOLD) != limit]

    @property
    def fleet_limit(self) -> int | None:
        """The calls of the whole fleet that may be in flight; None: not limited, or not known."""
        fleet = self.record.fleet
        return None if fleet is None else fleet.of.limit

    def next_deadline(self) -> int | None:
        """Return when ``advance`` next has something to do, or None."""
        record = self.record
        deadlines = [probe.deadline_ms for probe in record.probes.values()]
        if record.until_ms is not None:
            deadlines.append(record.until_ms)
        deadlines += [
            by_people.until_ms
            for by_people in (record.override, record.throttle)
            if by_people is not None and by_people.until_ms is not None
        ]
        told_ms = self.watch.next_deadline()
        if told_ms is not None:
            deadlines.append(told_ms)
        return min(deadlines, default=None)

    def verdict(self) -> Verdict:
        """Return what the breaker lets pass now."""
        record, override = self.record, self.record.override
        policy, cut = record.policy, record.throttle
        return Verdict(
            downstream=record.downstream,
            state=record.effective,
            epoch=record.epoch,
            allow=self.allow,
            since_ms=record.since_ms if override is None else override.since_ms,
            until_ms=record.until_ms if override is None else override.until_ms,
            reason=self._why(),
            # Also with a quorum: a gate may always hold back its own calls.
            consecutive_failures=policy.consecutive_failures if override is None else None,
            rates=policy.rates if override is None else None,
            report_every_ms=report_every_ms(record),
            slow_call_ms=policy.slow_call_ms,
            ramp_start=policy.ramp_start,
            most=1.0 if cut is None or override is not None else cut.share,
            outcomes=record.settings.outcomes,
            when_away=record.settings.when_away,
            limit=record.settings.limit,
            limit_epoch=0 if record.fleet is None else record.fleet.of.epoch,
        )

    def view(self, now_ms: int) -> BreakerView:
        """Return the breaker as people see it."""
        record = self.record
        return BreakerView(
            downstream=record.downstream,
            settings=record.settings,
            state=record.effective,
            own_state=record.state,
            override=record.override,
            throttle=record.throttle,
            epoch=record.epoch,
            since_ms=record.since_ms,
            until_ms=record.until_ms,
            reason=record.reason,
            calls_in_window=record.window.calls,
            failures_in_window=record.window.total_failures,
            slow_in_window=record.window.total_slow,
            consecutive_failures=record.consecutive,
            successes=record.successes,
            failures=record.failures,
            ignored=record.ignored,
            rejected=record.rejected,
            slow=record.slow,
            excused=record.excused,
            malformed=record.malformed,
            reopenings=record.reopenings,
            witnesses=witnesses(record, now_ms),
            open_dependencies=sorted(record.open_dependencies),
            probes_in_flight=len(record.probes),
            gates=len(record.reporters),
            transitions=record.transitions,
            revision=record.revision,
            incarnation=record.incarnation,
            affected=affected.shown(record.affected, now_ms),
            limit=self.fleet_limit,
            limit_change=None if record.fleet is None else record.fleet.of.last,
            wary=record.wary,
            alerts=self.desk.view(),
        )

    # What the states do ----------------------------------------------------------------------

    def open(self, rule: str, reason: str, numbers: Mapping[str, float], now_ms: int) -> None:
        """Let nothing pass for the open time."""
        record = self.record
        reopened = record.state is not BreakerState.CLOSED
        if record.opened_at_ms is None:
            record.opened_at_ms = now_ms
        if not reopened and record.open_time_ms:
            healthy = (now_ms - record.since_ms) // record.open_time_ms
            record.reopenings = max(0, record.reopenings - healthy)
        record.open_time_ms = self._open_time(now_ms)
        record.reopenings = min(record.reopenings + 1, MAX_STEPS)
        self._move(BreakerState.OPEN, rule, reason, numbers, now_ms, now_ms + record.open_time_ms)
        kind = "breaker.reopened" if reopened else "breaker.opened"
        self.watch.note_opening(now_ms)
        self.watch.opened(kind, reason, now_ms)

    def half_open(self, now_ms: int) -> None:
        """Let the probes of the fleet pass."""
        record = self.record
        open_s = (now_ms - record.since_ms) / 1000
        until_ms = now_ms + record.policy.half_open_max_ms
        self._move(
            BreakerState.HALF_OPEN,
            "open_time",
            f"open for {open_s:g} s; {record.policy.probes} probes may pass",
            {"open_s": open_s},
            now_ms,
            until_ms,
        )
        record.half_open_epoch = record.epoch

    def come_back(self, rule: str, reason: str, numbers: Mapping[str, float], now_ms: int) -> None:
        """Let calls pass again: a rising share of them, or all at once when there is no ramp."""
        record, policy = self.record, self.record.policy
        # Nobody has seen it work: the first failure is enough to go back.
        record.wary = record.probe_successes == 0
        self._clear_window()
        if policy.ramp_ms == 0:
            self.close(rule, reason, numbers, now_ms)
            return
        # So that the first call of the ramp passes.
        record.ramp_credit = 1_000_000 - int(policy.ramp_start * 1_000_000)
        reason = f"{reason}; all calls pass in {policy.ramp_ms / 1000:g} s"
        self._move(BreakerState.RAMP, rule, reason, numbers, now_ms, now_ms + policy.ramp_ms)

    def close(self, rule: str, reason: str, numbers: Mapping[str, float], now_ms: int) -> None:
        """Let every call pass."""
        record = self.record
        self._move(BreakerState.CLOSED, rule, reason, numbers, now_ms, None)
        self.watch.recovered(reason, now_ms)
        record.opened_at_ms = None

    def settle_probe(self, id: str, outcome: CallOutcome, *, slow: bool = False) -> None:
        """Take the outcome of a probe; one that is not in flight (any more) changes nothing.

        A slow probe is a failed one: a downstream that is as slow as it was has not come back.
        While a dependency is open, a failure is that one's, and says nothing of this downstream.
        """
        record = self.record
        if record.probes.pop(id, None) is None:
            return
        if outcome is CallOutcome.FAILURE and record.open_dependencies:
            record.excused += 1
            outcome = CallOutcome.IGNORED
        match outcome:
            case CallOutcome.SUCCESS if not slow:
                record.probe_successes += 1
            case CallOutcome.SUCCESS | CallOutcome.FAILURE:
                record.probe_failures += 1
            case CallOutcome.IGNORED:
                pass  # it says nothing, so another call may probe in its place

    def lift(self, rule: str, reason: str, actor: str | None, now_ms: int) -> None:
        """End what people have set; the breaker is again what it would have been."""
        record = self.record
        source, record.override = record.effective, None
        self.note(source, record.state, rule, reason, {}, now_ms, actor)
        # What happened underneath was nobody's business; what is left of it now is.
        if record.state is BreakerState.CLOSED:
            self.watch.recovered(record.reason, now_ms)
        elif not record.alarmed:
            self.watch.opened("breaker.opened", record.reason, now_ms)

    def unthrottle(self, rule: str, reason: str, actor: str | None, now_ms: int) -> None:
        """End the cut that people have made."""
        record = self.record
        record.throttle = None
        self.note(record.effective, record.effective, rule, reason, {"share": 1.0}, now_ms, actor)

    def note(
        self,
        source: BreakerState,
        target: BreakerState,
        rule: str,
        reason: str,
        numbers: Mapping[str, float],
        now_ms: int,
        actor: str | None = None,
    ) -> None:
        """Begin a new epoch, and write down why."""
        record = self.record
        record.epoch += 1
        record.revision += 1
        transition = Transition(
            epoch=record.epoch,
            at_ms=now_ms,
            source=source,
            target=target,
            rule=rule,
            reason=reason,
            numbers=dict(numbers),
            actor=actor,
            enforced=actor is not None or record.override is None,
        )
        record.transitions = [*record.transitions, transition][-MAX_TRANSITIONS_KEPT:]
        record.unsaved = [*record.unsaved, transition][-MAX_UNSAVED_KEPT:]

    def start_afresh(self, now_ms: int) -> None:
        """Forget outcomes, probes and how often it has opened."""
        record = self.record
        self._clear_window()
        self._clear_probes()
        record.state, record.since_ms, record.until_ms = BreakerState.CLOSED, now_ms, None
        self.watch.recovered("it was reset", now_ms)
        record.opened_at_ms = None
        record.reopenings = record.open_time_ms = record.retry_at_ms = 0
        record.wary = False

    def _limit(self, calls: CallSummary, now_ms: int) -> None:
        """Adapt the limit of the fleet; when it is lowered, every gate is told at once."""
        record = self.record
        limit = record.settings.limit
        policy = None if limit is None else limit.concurrency
        if policy is None:
            record.fleet = None
            return
        if record.fleet is None:
            record.fleet = begin_fleet(policy)
        epoch = record.fleet.of.epoch
        observe(record.fleet, policy, calls, now_ms, report_every_ms(record))
        if record.fleet.of.epoch != epoch:
            self._tell_again()

    def conclude(self, now_ms: int) -> None:
        """Tell people what there is to tell after a step."""
        record = self.record
        before = record.alert_sequence
        self.watch.look(now_ms)
        if record.alert_sequence != before:
            record.revision += 1

    def _tell_again(self) -> None:
        """Have every gate told of the same verdict, with other numbers."""
        for reporter in self.record.reporters.values():
            reporter.pushed_epoch = UNKNOWN_EPOCH

    # Inside ----------------------------------------------------------------------------------

    def _why(self) -> str:
        """Return why what passes passes, in a sentence."""
        record = self.record
        if record.override is not None:
            return f"set by {record.override.actor}: {record.override.reason}"
        cut = record.throttle
        if cut is not None and self.allow == "ramp":
            return f"{record.reason}; cut to {cut.share * 100:g}% by {cut.actor}: {cut.reason}"
        return record.reason

    def _count(self, bucket: OutcomeBucket, reporter: Reporter, now_ms: int) -> None:
        record = self.record
        at_ms = min(bucket.at_ms, now_ms)
        record.successes += bucket.successes
        record.failures += bucket.failures
        record.ignored += bucket.ignored
        record.rejected += bucket.rejected
        record.slow += bucket.slow
        self._remember(bucket, at_ms)
        self._heed(bucket.epoch, at_ms, bucket.retry_after_ms)
        # Calls that were let go under an earlier verdict are part of the totals, but say nothing
        # about the downstream as it is now.
        if bucket.epoch not in (record.epoch, UNKNOWN_EPOCH):
            return
        if record.open_dependencies and bucket.failures:
            record.excused += bucket.failures
            good = {"failures": 0, "trailing_failures": 0}
            slow = min(bucket.slow, bucket.successes)
            bucket = bucket.model_copy(update={**good, "slow": slow})
        if STATES[record.state].judges_calls:
            record.window.add(at_ms, bucket.successes, bucket.failures, now_ms, bucket.slow)
            record.judged += bucket.successes + bucket.failures
            if bucket.failures or bucket.slow:
                reporter.trouble_at_ms = max(reporter.trouble_at_ms, at_ms)
                reporter.trouble_at_call = record.judged
            count_row(record, reporter, bucket, at_ms)
            if bucket.successes:
                record.wary = False
        elif record.state is BreakerState.HALF_OPEN and self.allow == "all":
            # Under an override every call passes; the first ones show what the probes would have.
            free = self._free_probes()
            bad = min(free, bucket.failures)
            record.probe_failures += bad
            record.probe_successes += min(free - bad, bucket.successes)

    def _count_probe(self, probe: ProbeOutcome, now_ms: int) -> None:
        record = self.record
        slow_ms = record.policy.slow_call_ms
        slow = slow_ms is not None and probe.duration_ms >= slow_ms
        self._heed(probe.epoch, now_ms, probe.retry_after_ms)
        # What people set begins a new epoch, but leaves the probes in flight what they are.
        if record.half_open_epoch <= probe.epoch <= record.epoch:
            self.settle_probe(probe.id, probe.outcome, slow=slow)
        success = int(probe.outcome is CallOutcome.SUCCESS)
        failure = int(probe.outcome is CallOutcome.FAILURE)
        bucket = OutcomeBucket(
            at_ms=now_ms,
            epoch=record.epoch,
            successes=success,
            failures=failure,
            ignored=int(probe.outcome is CallOutcome.IGNORED),
            trailing_failures=failure,
            slow=int(slow) & (success | failure),
            duration_ms=probe.duration_ms,
        )
        record.successes += bucket.successes
        record.failures += bucket.failures
        record.ignored += bucket.ignored
        record.slow += bucket.slow
        self._remember(bucket, now_ms)

    def _heed(self, epoch: int, at_ms: int, retry_after_ms: int) -> None:
        """Note for how long the downstream asked not to be called, and stay OPEN for as long.

        Believed while it holds: also from a call that was under way when the breaker opened, but
        not from before it came back.
        """
        record = self.record
        is_open = record.state is BreakerState.OPEN
        oldest = record.half_open_epoch if record.state is BreakerState.HALF_OPEN else record.epoch
        known = is_open or epoch == UNKNOWN_EPOCH or oldest <= epoch
        if not retry_after_ms or not known or epoch > record.epoch:
            return
        record.retry_at_ms = max(record.retry_at_ms, at_ms + retry_after_ms)
        longest_ms = record.since_ms + record.policy.longest_open_ms
        until_ms = min(record.retry_at_ms, longest_ms)
        if is_open and record.until_ms is not None and until_ms > record.until_ms:
            record.until_ms = until_ms
            record.open_time_ms = until_ms - record.since_ms
            self._tell_again()

    def _remember(self, bucket: OutcomeBucket, at_ms: int) -> None:
        """Keep the outcomes by time, for the history."""
        spans = self.record.spans
        begin_ms = at_ms - at_ms % OUTCOME_SPAN_MS
        # Late reports belong to one of the last spans, if to any that is still here.
        at = next((n for n in range(len(spans) - 1, -1, -1) if spans[n].at_ms <= begin_ms), -1)
        if at < 0 or spans[at].at_ms != begin_ms:
            at += 1
            spans.insert(at, OutcomeSpan(at_ms=begin_ms))
            if len(spans) > MAX_SPANS_KEPT:
                del spans[0]
                at -= 1
                if at < 0:
                    return  # older than all that fit
        span = spans[at]
        spans[at] = OutcomeSpan(
            at_ms=begin_ms,
            successes=span.successes + bucket.successes,
            failures=span.failures + bucket.failures,
            ignored=span.ignored + bucket.ignored,
            slow=span.slow + bucket.slow,
            rejected=span.rejected + bucket.rejected,
            duration_ms=span.duration_ms + bucket.duration_ms,
        )

    def _open_time(self, now_ms: int) -> int:
        record, policy = self.record, self.record.policy
        plain = min(policy.longest_open_ms, policy.open_ms * policy.open_factor**record.reopenings)
        varied = plain * (1.0 + policy.open_jitter * (2.0 * self._chance() - 1.0))
        asked_for = min(record.retry_at_ms - now_ms, policy.longest_open_ms)
        return max(10, round(min(varied, policy.longest_open_ms)), asked_for)

    def _probe_is_free(self) -> bool:
        return self._free_probes() > 0

    def _free_probes(self) -> int:
        record = self.record
        used = len(record.probes) + record.probe_successes + record.probe_failures
        return max(0, record.policy.probes - used)

    def _clear_probes(self) -> None:
        record = self.record
        record.probes.clear()
        record.probe_answers.clear()
        record.probe_successes = record.probe_failures = 0

    def _clear_window(self) -> None:
        record = self.record
        record.window.clear()
        record.consecutive = 0
        for reporter in record.reporters.values():
            reporter.trouble_at_ms = reporter.trouble_at_call = 0
            reporter.row = reporter.called_at_ms = 0
        record.row_of_gone = 0
        record.trouble_of_gone = []

    def _move(
        self,
        target: BreakerState,
        rule: str,
        reason: str,
        numbers: Mapping[str, float],
        now_ms: int,
        until_ms: int | None,
    ) -> None:
        record = self.record
        self.note(record.state, target, rule, reason, numbers, now_ms)
        record.state = target
        record.since_ms = now_ms
        record.until_ms = until_ms
        record.reason = reason
        self._clear_probes()

    def _forget_silent_reporters(self, now_ms: int) -> None:
        reporters, window = self.record.reporters, self.record.policy.window
        window_ms = window.seconds * 1_000 if isinstance(window, TimeWindow) else 0
        ttl_ms = max(REPORTER_TTL_MS, window_ms)  # within the window it may be a witness
        for gate in [
            gate for gate, reporter in reporters.items() if now_ms - reporter.seen_at_ms > ttl_ms
        ]:
            gone = reporters.pop(gate)
            self.record.row_of_gone += gone.row
            if isinstance(window, CountWindow) and gone.trouble_at_call:
                # Its calls may be in the window for long, and it remains a witness of theirs.
                left = self.record.judged - window.size
                kept = [at for at in self.record.trouble_of_gone if at > left]
                self.record.trouble_of_gone = [*kept, gone.trouble_at_call][-MAX_WITNESSES:]
