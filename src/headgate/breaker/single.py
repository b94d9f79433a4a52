"""A breaker as one process alone uses it: one call in, one outcome out.

The same machine as in the workflow, without gates and messages: for simulation, backtests, and
comparison with in-process libraries.
"""

from headgate.breaker.machine import Breaker
from headgate.breaker.record import Probe
from headgate.breaker.sliding_time import BUCKETS, SlidingTime
from headgate.breaker.states import STATES
from headgate.model.breaker import BreakerState, CallOutcome

Pass = int | str
"""A call that was let pass: the epoch under which it was, or the id of its probe."""

_NEVER = 1 << 62


class SingleBreaker:
    """Admits single calls, and takes their outcomes.

    Args:
        breaker: The machine.
    """

    __slots__ = ("_epoch", "_open", "_probes", "_slow_ms", "_wake_ms", "breaker")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self._probes = 0
        self._look()

    def admit(self, now_ms: int) -> Pass | None:
        """Return a pass for one call at ``now_ms``, or None when the call must not be made."""
        if now_ms >= self._wake_ms:
            self.breaker.advance(now_ms)
            self._look()
        if self._open:
            return self._epoch
        return self._admit_some(now_ms)

    def advance(self, now_ms: int) -> None:
        """Let time do what it does, for those who want it to happen without a call."""
        self.breaker.advance(now_ms)
        self._look()

    def settle(self, given: Pass, outcome: CallOutcome, now_ms: int, duration_ms: int = 0) -> None:
        """Take the outcome, at ``now_ms``, of a call that was let pass."""
        record = self.breaker.record
        if now_ms >= self._wake_ms:
            self.breaker.advance(now_ms)
            self._look()
        slow = duration_ms >= self._slow_ms
        if outcome is CallOutcome.SUCCESS:
            record.successes += 1
        elif outcome is CallOutcome.FAILURE:
            record.failures += 1
        else:
            record.ignored += 1
        if slow and outcome is not CallOutcome.IGNORED:
            record.slow += 1
        if given == self._epoch and outcome is not CallOutcome.IGNORED:
            failed = outcome is CallOutcome.FAILURE
            window = record.window
            if window.__class__ is SlidingTime and window.head == now_ms // window.bucket_ms:
                # The common case of ``add``, spelled out: this is the fast path of every call.
                slot = window.head % BUCKETS
                window.calls += 1
                if failed:
                    window.failures[slot] += 1
                    window.total_failures += 1
                else:
                    window.successes[slot] += 1
                if slow:
                    window.slow[slot] += 1
                    window.total_slow += 1
            else:
                window.add(now_ms, not failed, failed, now_ms, slow)
            if failed:
                record.consecutive += 1
            else:
                record.consecutive = 0
                record.wary = False
                if not window.total_failures and not window.total_slow:
                    return  # no rule can be met
        elif given.__class__ is str:
            self.breaker.settle_probe(str(given), outcome, slow=slow)
        self._judge(now_ms)

    def _admit_some(self, now_ms: int) -> Pass | None:
        record = self.breaker.record
        match self.breaker.allow:
            case "probes":
                used = len(record.probes) + record.probe_successes + record.probe_failures
                if used < record.policy.probes:
                    self._probes += 1
                    id = f"{record.epoch}:{self._probes}"
                    record.probes[id] = Probe("", now_ms + record.policy.probe_deadline_ms)
                    self._look()
                    return id
            case "ramp":
                record.ramp_credit += int(self.breaker.verdict().share(now_ms) * 1_000_000)
                if record.ramp_credit >= 1_000_000:
                    record.ramp_credit -= 1_000_000
                    return record.epoch
            case "all":
                return record.epoch
        record.rejected += 1
        return None

    def _judge(self, now_ms: int) -> None:
        record = self.breaker.record
        STATES[record.state].on_outcomes(self.breaker, now_ms)
        if record.epoch != self._epoch or record.state is BreakerState.HALF_OPEN:
            self._look()

    def _look(self) -> None:
        """Note what the fast paths need to know."""
        record = self.breaker.record
        self._open = self.breaker.allow == "all"
        self._epoch = record.epoch
        slow_ms = record.policy.slow_call_ms
        self._slow_ms = _NEVER if slow_ms is None else slow_ms
        deadline = self.breaker.next_deadline()
        self._wake_ms = _NEVER if deadline is None else deadline
