"""Messages between gate and breaker."""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from headgate.model.alert_rules import AlertsView
from headgate.model.contract import Actor, Count, Message, Millis, Why
from headgate.model.entity import IfRevision
from headgate.model.lease import WhenAway
from headgate.model.limits import CallSummary, LimitChange, LimitPolicy
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import Rates
from headgate.model.settings import BreakerSettings

UNKNOWN_EPOCH: Final = -1
"""The epoch of a gate that has heard no verdict yet."""

OUTCOME_SPAN_MS: Final = 10_000
"""Outcomes are kept for history in stretches of this length."""

AFFECTED_FOR_MS: Final = 600_000
"""A tenant counts as affected for so long after its last call that failed or was turned away."""

MOST_AFFECTED: Final = 50
"""Tenants that a breaker remembers as affected."""

ThrottleShare = Annotated[float, Field(gt=0.0, lt=1.0)]
BreakerAction = Literal["force_open", "force_closed", "shadow", "throttle", "resume", "reset"]
GateId = Annotated[str, Field(min_length=1, max_length=200)]


class BreakerState(StrEnum):
    """The states of a breaker."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"
    RAMP = "RAMP"
    FORCED_OPEN = "FORCED_OPEN"
    FORCED_CLOSED = "FORCED_CLOSED"
    SHADOW = "SHADOW"


SET_BY_PEOPLE: Final = (
    BreakerState.FORCED_OPEN,
    BreakerState.FORCED_CLOSED,
    BreakerState.SHADOW,
)
"""The states of a breaker that is not left to itself."""

Allow = Literal["all", "none", "probes", "ramp"]
"""What passes: every call, none, only probes, or a share (of a ramp, or set by people)."""


class CallOutcome(StrEnum):
    """How one call ended, as far as the health of the downstream is concerned."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


class OutcomeBucket(Message):
    """The outcomes of one gate since its last report.

    Attributes:
        at_ms: When the last of them ended; the breaker takes it as a hint within its window.
        epoch: The epoch of the verdict under which the calls were admitted.
        successes: Calls that succeeded.
        failures: Calls that failed.
        ignored: Calls that say nothing about the downstream.
        rejected: Calls that the gate did not let pass.
        trailing_failures: Failures since the last success of the bucket; all of them when the
            bucket holds no success.
        succeeded_at_ms: When the last success ended; 0: at about ``at_ms``.
        failing_since_ms: When the first of the trailing failures ended; 0: at about ``at_ms``.
        slow: Of the successes and failures, those that were slow.
        duration_ms: How long the successes and failures took, together.
        retry_after_ms: For how long the downstream asked not to be called, counted from ``at_ms``.
    """

    at_ms: Millis
    epoch: Annotated[int, Field(ge=UNKNOWN_EPOCH)]
    successes: Count = 0
    failures: Count = 0
    ignored: Count = 0
    rejected: Count = 0
    trailing_failures: Count = 0
    succeeded_at_ms: Millis = 0
    failing_since_ms: Millis = 0
    slow: Count = 0
    duration_ms: Millis = 0
    retry_after_ms: Millis = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.trailing_failures > self.failures or (
            self.successes == 0 and self.trailing_failures != self.failures
        ):
            raise ValueError("trailing_failures does not fit failures and successes")
        if self.slow > self.successes + self.failures:
            raise ValueError("more slow calls than successes and failures")
        return self


class ProbeOutcome(Message):
    """How a probe ended."""

    id: str
    epoch: int
    outcome: CallOutcome
    duration_ms: Millis = 0
    retry_after_ms: Millis = 0


class Report(Message):
    """What a gate tells a breaker: one signal for many calls, numbered so that it counts once.

    Attributes:
        gate: The gate's id, new for every process.
        seq: Rises by one with every report of this gate to this breaker, from 1.
        task_queue: Where the gate listens for verdicts.
        buckets: Outcomes; none in the report by which a gate introduces itself.
        probes: Outcomes of probes.
        calls: What the limit of the whole fleet is reckoned from, if there is one.
        affected: Calls that failed or were turned away since the last report, by tenant; of more
            tenants than fit, only some.
    """

    gate: GateId
    seq: Annotated[int, Field(ge=1)]
    task_queue: Annotated[str, Field(min_length=1, max_length=500)]
    buckets: Annotated[list[OutcomeBucket], Field(max_length=100)] = []
    probes: Annotated[list[ProbeOutcome], Field(max_length=1000)] = []
    calls: CallSummary | None = None
    affected: Annotated[dict[str, Count], Field(max_length=MOST_AFFECTED)] = {}


class Verdict(Message):
    """What a breaker lets pass now.

    Attributes:
        downstream: Of what.
        state: The breaker's state.
        epoch: Rises with every transition; outcomes of an older one do not move the breaker.
        allow: What passes.
        since_ms: When the state began; a ramp rises from then on.
        until_ms: When the state ends by itself, if it does.
        reason: Why it is so, in a sentence.
        consecutive_failures: The gate holds back by itself when it has seen so many failures in a
            row, until the breaker has spoken; null: it does not.
        rates: It also does when its own calls exceed these; null: it does not.
        report_every_ms: How often the gate reports while all is well.
        slow_call_ms: From when on a call is slow; null: none is.
        ramp_start: The share of calls that pass at the beginning of a ramp; all pass at its end.
        most: The largest share that people let pass; 1: they have not throttled it.
        outcomes: How outcomes are classified.
        when_away: What holds when this is too old to go by and the breaker cannot be reached.
        limit: What limits the calls of each gate; null: nothing.
        limit_epoch: Of the limit of the whole fleet.
    """

    downstream: str
    state: BreakerState
    epoch: int
    allow: Allow
    since_ms: int = 0
    until_ms: int | None = None
    reason: str = ""
    consecutive_failures: int | None = None
    rates: Rates | None = None
    report_every_ms: int = 1_000
    slow_call_ms: int | None = None
    ramp_start: float = 1.0
    most: float = 1.0
    outcomes: OutcomeRules = OutcomeRules()
    when_away: WhenAway = WhenAway.FAIL_STATIC
    limit: LimitPolicy | None = None
    limit_epoch: int = 0

    @property
    def is_ramp(self) -> bool:
        """Whether the downstream is coming back; a throttle lets a share pass as well."""
        return self.state is BreakerState.RAMP

    def share(self, now_ms: int) -> float:
        """Return the share of calls that passes at ``now_ms`` with ``allow`` "ramp", 0 to 1."""
        if self.until_ms is None or now_ms >= self.until_ms:
            return self.most
        done = max(0, now_ms - self.since_ms) / max(1, self.until_ms - self.since_ms)
        return min(self.most, self.ramp_start + (1.0 - self.ramp_start) * done)

    @classmethod
    def unknown(cls, downstream: str) -> Self:
        """Return what holds while nobody has said anything yet: calls pass."""
        return cls(
            downstream=downstream,
            state=BreakerState.CLOSED,
            epoch=UNKNOWN_EPOCH,
            allow="all",
            reason="the breaker has not spoken yet",
        )


class ProbeRequest(Message):
    """A gate asks for the right to make probe calls.

    Attributes:
        gate: Who asks.
        epoch: The half-open epoch it knows.
        ids: One id for each probe, chosen by the asker; the same id gets the same answer.
    """

    gate: GateId
    epoch: int
    ids: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=100)]


class ProbeReply(Message):
    """The probes that were leased, and the verdict that holds now."""

    granted: list[str]
    deadline_ms: int | None
    verdict: Verdict


class Transition(Message):
    """A change of state, with the numbers that caused it.

    Attributes:
        epoch: The epoch that begins with it.
        at_ms: Unix time.
        source: The state before.
        target: The state after.
        rule: What caused it: failure_rate, slow_call_rate, consecutive_failures, open_time, probes,
            deadline, ramp_done, operator or expiry.
        reason: The cause in a sentence, with numbers.
        numbers: The numbers themselves.
        actor: Who, when people did it.
        enforced: False when an override hid the change from callers.
        request_id: Of the command, when people did it.
        action: What the command was, such as ``force_open``; null: people did not do it, or a
            breaker of an older version did not say.
    """

    epoch: int
    at_ms: int
    source: BreakerState
    target: BreakerState
    rule: str
    reason: str
    numbers: dict[str, float] = {}
    actor: str | None = None
    enforced: bool = True
    request_id: str | None = None
    action: str | None = None


class Override(Message):
    """What people have set instead of what the breaker would decide.

    Attributes:
        mode: FORCED_OPEN, FORCED_CLOSED or SHADOW.
        actor: Who.
        reason: Why.
        since_ms: Since when.
        until_ms: When it ends by itself; null: when people end it.
    """

    mode: Literal[BreakerState.FORCED_OPEN, BreakerState.FORCED_CLOSED, BreakerState.SHADOW]
    actor: str
    reason: str
    since_ms: int
    until_ms: int | None = None


class Throttle(Message):
    """A cut that people have made: the breaker goes on as usual, and lets less pass.

    Attributes:
        share: At most this share of the calls passes.
        actor: Who.
        reason: Why.
        since_ms: Since when.
        until_ms: When it ends by itself; null: when people end it.
    """

    share: ThrottleShare
    actor: str
    reason: str
    since_ms: int
    until_ms: int | None = None


class BreakerCommand(Message):
    """What an operator tells a breaker.

    Attributes:
        id: The same for every attempt, so that it is done once.
        action: ``force_open``: no call passes. ``force_closed``: every call passes. ``shadow``:
            every call passes, and what it would have done is recorded. ``throttle``: at most
            ``share`` of the calls passes, also over a ramp. ``resume``: end what was set.
            ``reset``: end what was set, forget all outcomes and close.
        actor: Who.
        reason: Why; for the audit.
        if_revision: Refuse it if people have set something since.
        for_ms: How long it holds; null: until ``resume``. Only for what is set.
        share: For ``throttle``, and only for it.
        dry_run: Answer what it would be, change nothing.
    """

    id: Annotated[str, Field(min_length=1, max_length=200)]
    action: BreakerAction
    actor: Actor
    reason: Why
    if_revision: IfRevision = None
    for_ms: Annotated[int, Field(ge=1_000, le=365 * 86_400_000)] | None = None
    share: ThrottleShare | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _share_fits(self) -> Self:
        if (self.action == "throttle") != (self.share is not None):
            raise ValueError("share goes with the action throttle, and only with it")
        return self


class DependencyNews(Message):
    """What a breaker tells those that depend on its downstream.

    Attributes:
        downstream: Whose breaker speaks.
        is_open: Whether it keeps calls away.
        epoch: Its epoch; older news than what is known is left aside.
    """

    downstream: str
    is_open: bool
    epoch: int


class OutcomeSpan(Message):
    """The outcomes that ended within one stretch of ``OUTCOME_SPAN_MS``.

    Attributes:
        at_ms: Its beginning.
        successes: Like the others, a count.
        failures: Likewise.
        ignored: Likewise.
        slow: Likewise.
        rejected: Likewise.
        duration_ms: How long the successes and failures took, together.
    """

    at_ms: int
    successes: int = 0
    failures: int = 0
    ignored: int = 0
    slow: int = 0
    rejected: int = 0
    duration_ms: int = 0


class AffectedTenant(Message):
    """A tenant whose calls lately failed or were turned away.

    Attributes:
        tenant: Who.
        calls: How many, since it last was left alone for ``AFFECTED_FOR_MS``.
        at_ms: When a gate last told of one.
    """

    tenant: str
    calls: int
    at_ms: int


class BreakerView(Message):
    """A breaker as queries return it and snapshots summarise it.

    ``affected``: the tenants whose calls failed or were turned away in the last
    ``AFFECTED_FOR_MS``, those with the most calls first, at most ``MOST_AFFECTED``.
    ``wary``: it lets calls pass although nobody has seen the downstream work; one failure opens it.
    """

    downstream: str
    settings: BreakerSettings
    state: BreakerState
    own_state: BreakerState
    override: Override | None
    throttle: Throttle | None = None
    epoch: int
    since_ms: int
    until_ms: int | None
    reason: str
    calls_in_window: int
    failures_in_window: int
    slow_in_window: int
    consecutive_failures: int
    successes: int
    failures: int
    ignored: int
    rejected: int
    slow: int
    excused: int
    malformed: int
    reopenings: int
    witnesses: int
    open_dependencies: list[str]
    probes_in_flight: int
    gates: int
    transitions: list[Transition]
    revision: int
    incarnation: int
    limit: int | None = None
    limit_change: LimitChange | None = None
    wary: bool = False
    alerts: AlertsView = AlertsView()
    affected: list[AffectedTenant] = []

    @property
    def in_force_since_ms(self) -> int:
        """Since when ``state`` is so; ``since_ms`` is since when ``own_state`` is."""
        if self.override is not None:
            return self.override.since_ms
        # What was set by people has ended since, and its own state is what it was underneath.
        modes = [step.at_ms for step in self.transitions if step.source in SET_BY_PEOPLE]
        return max([self.since_ms, *modes])
