"""What limits the calls of this gate to one downstream: how many at once, how many a second."""

import math
from typing import Final

from headgate.gate.outcomes import Ended
from headgate.gate.ticket import Refusal
from headgate.limits import (
    AdaptiveRate,
    Tally,
    begin,
    in_flight_limit,
    shut_until,
    spend,
    step,
    succeeded,
    throttled,
)
from headgate.limits.concurrency import times_out
from headgate.model.breaker import CallOutcome
from headgate.model.limits import CallSummary, LimitPolicy
from headgate.model.reason import Reason, ReasonCode

NO_LIMIT: Final = 2**53
_RETRY_MS: Final = 200
_MICRO: Final = 1_000_000


class Limiter:
    """The limits of one downstream in this process, and what the fleet's limit is reckoned from.

    Times are Unix milliseconds.

    Args:
        name: Of the downstream.
        policy: What limits it.
    """

    def __init__(self, name: str, policy: LimitPolicy) -> None:
        self._name = name
        self.policy = policy
        self._concurrency = None if policy.concurrency is None else begin(policy.concurrency)
        self._rate = None if policy.rate is None else AdaptiveRate()
        self._fleet = Tally()
        self._fleet_epoch = 0
        self.epoch = 0
        self.most = NO_LIMIT
        self._look()

    def follow(self, policy: LimitPolicy, fleet_epoch: int) -> None:
        """Take another policy, or a new epoch of the fleet's limit; what was learned stays."""
        if fleet_epoch != self._fleet_epoch:
            self._fleet, self._fleet_epoch = Tally(), fleet_epoch
        if policy == self.policy:
            return
        self.policy = policy
        if policy.concurrency is None:
            self._concurrency = None
        elif self._concurrency is None:
            self._concurrency = begin(policy.concurrency)
        if policy.rate is None:
            self._rate = None
        elif self._rate is None:
            self._rate = AdaptiveRate()
        self._look()

    @property
    def is_quiet(self) -> bool:
        """Whether a call needs no more than to be counted, as long as few enough are in flight."""
        rate = self._rate
        return rate is None or (rate.rate is None and rate.shut_until_ms == 0)

    @property
    def step_at_ms(self) -> float:
        """When the limit of calls in flight is judged next."""
        return math.inf if self._concurrency is None else self._concurrency.ends_at_ms

    def admit(self, in_flight: int, now_ms: int) -> Refusal | None:
        """Let a call pass, or say what limit stands in its way; see ``refusal``."""
        refusal = self.refusal(in_flight, now_ms)
        if refusal is None:
            self.begin(in_flight)
        return refusal

    def begin(self, in_flight: int) -> None:
        """Let a call begin of which ``refusal`` has said in the same moment that it may."""
        if self._rate is not None:
            spend(self._rate)
        self._note_in_flight(in_flight + 1)

    def refusal(self, in_flight: int, now_ms: int) -> Refusal | None:
        """Return what limit stands in the way of a call, without letting it pass.

        Args:
            in_flight: Calls in flight without it.
            now_ms: Unix time.
        """
        reason = in_flight_limit(self.policy, self._concurrency).refusal(self._name, in_flight)
        if reason is not None:
            self._note_in_flight(in_flight)
            return Refusal(reason, now_ms + _RETRY_MS)
        if self._rate is not None and self.policy.rate is not None:
            at_ms = shut_until(self._rate, self.policy.rate, now_ms)
            if at_ms is not None:
                return Refusal(self._rate_reason(), at_ms)
        return None

    def ended(
        self, ended: Ended, epoch: int, began_ms: int, now_ms: int, *, in_flight: int
    ) -> None:
        """Take the end of a call.

        Args:
            ended: How it was.
            epoch: Of the limit when it was let pass.
            began_ms: When that was.
            now_ms: Unix time.
            in_flight: Calls that were in flight until now, this one included.
        """
        concurrency, policy = self._concurrency, self.policy.concurrency
        overload = ended.overload
        if policy is not None and times_out(policy, ended.duration_ms):
            overload = True
        says_something = ended.outcome is CallOutcome.SUCCESS or overload
        if concurrency is not None and policy is not None:
            if epoch == self.epoch and says_something:
                concurrency.tally.began(in_flight)
                if overload or now_ms >= concurrency.timed_from_ms:
                    concurrency.tally.ended(ended.duration_ms, overload=overload)
            self._step(now_ms)
        if says_something:
            self._fleet.ended(ended.duration_ms, overload=overload)
        self._fleet.began(in_flight)
        if self._rate is not None and self.policy.rate is not None:
            if overload:
                throttled(self._rate, self.policy.rate, began_ms, now_ms, ended.retry_after_ms)
            else:
                succeeded(self._rate, self.policy.rate, now_ms)

    def ended_calmly(
        self, calls: int, duration_ms: int, squares: int, now_ms: int, *, in_flight: int
    ) -> None:
        """Take in calls that succeeded while ``is_quiet`` held and the limit was the same."""
        tallies = [self._fleet]
        concurrency = self._concurrency
        if concurrency is not None and now_ms >= concurrency.timed_from_ms:
            tallies.append(concurrency.tally)
        for tally in tallies:
            tally.calls += calls
            tally.duration_ms += duration_ms
            tally.squares += squares
            tally.began(in_flight)
        if self._rate is not None and self.policy.rate is not None:
            succeeded(self._rate, self.policy.rate, now_ms, calls)
        self._step(now_ms)

    def summary(self, gate: str, seq: int) -> CallSummary | None:
        """Return what the fleet's limit is to know, and begin anew; None: there is none."""
        if self.policy.concurrency is None:
            return None
        summary = self._fleet.summary(gate, seq, self._fleet_epoch)
        self._fleet = Tally()
        return summary

    def _step(self, now_ms: int) -> None:
        concurrency, policy = self._concurrency, self.policy.concurrency
        if concurrency is None or policy is None:
            return
        if step(concurrency, policy, now_ms) is not None:
            self._look()

    def _look(self) -> None:
        limit = in_flight_limit(self.policy, self._concurrency).calls
        self.most = NO_LIMIT if limit is None else limit
        self.epoch = 0 if self._concurrency is None else self._concurrency.epoch

    def _note_in_flight(self, in_flight: int) -> None:
        if self._concurrency is not None:
            self._concurrency.tally.began(in_flight)
        self._fleet.began(in_flight)

    def _rate_reason(self) -> Reason:
        rate = self._rate
        assert rate is not None
        if rate.rate is None:
            message = f"{self._name} has asked not to be called for a while"
        else:
            message = (
                f"{self._name} has refused calls as too many; now {rate.rate / _MICRO:.3g} a "
                "second pass here"
            )
        return Reason(code=ReasonCode.RATE, message=message)


def limiter_of(limiter: Limiter | None, name: str, policy: LimitPolicy | None) -> Limiter | None:
    """Return the limiter for a policy: the one that there is, if one is needed."""
    if policy is None:
        return None
    return limiter or Limiter(name, policy)
