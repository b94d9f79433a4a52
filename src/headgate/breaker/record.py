"""What a breaker remembers: plain data, carried across continue-as-new and into snapshots."""

from dataclasses import dataclass, field
from typing import Final

from headgate.alerts.episode import Episode
from headgate.breaker.affected import Affected
from headgate.breaker.windows import Sliding
from headgate.limits import FleetConcurrency
from headgate.model.alert import Alert
from headgate.model.breaker import BreakerState, OutcomeSpan, Override, Throttle, Transition
from headgate.model.entity import EntityOptions
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings

_MASK_BITS: Final = 32


@dataclass(slots=True)
class Reporter:
    """A gate that reports to this breaker, and which of its reports have been counted.

    Attributes:
        task_queue: Where it listens for verdicts.
        seen_at_ms: When it last reported.
        high: The highest report number counted.
        mask: Which of the numbers just below ``high`` have been counted, bit 0 being high - 1.
        pushed_epoch: The epoch of the last verdict that it has confirmed.
        trouble_at_ms: When it last saw a failing or slow call; 0: not since the window was cleared.
        row: Failures that it has seen in a row, as far as no other gate has seen a success since.
        row_began_ms: When that row began.
        called_at_ms: When it last saw a call succeed or fail.
        trouble_at_call: The number of that call, among all that went into the window.
    """

    task_queue: str
    seen_at_ms: int
    high: int = 0
    mask: int = 0
    pushed_epoch: int = -1
    trouble_at_ms: int = 0
    trouble_at_call: int = 0
    row: int = 0
    row_began_ms: int = 0
    called_at_ms: int = 0

    def is_new(self, seq: int) -> bool:
        """Mark report ``seq`` as counted; False when it had been, or is too old to tell."""
        if seq > self.high:
            shifted = (self.mask << 1) | 1 if self.high else 0
            leap = min(seq - self.high - 1, _MASK_BITS)
            self.mask = (shifted << leap) & ((1 << _MASK_BITS) - 1)
            self.high = seq
            return True
        back = self.high - seq - 1
        if back < 0 or back >= _MASK_BITS or self.mask >> back & 1:
            return False
        self.mask |= 1 << back
        return True


@dataclass(slots=True)
class Probe:
    """A leased probe: one call that a half-open breaker lets pass."""

    gate: str
    deadline_ms: int


@dataclass(slots=True)
class BreakerRecord:
    """The state of one breaker.

    Attributes:
        downstream: Of what.
        settings: The configuration in force.
        window: The outcomes that are judged.
        state: CLOSED, OPEN, HALF_OPEN or RAMP: what it decided by itself, also under an override.
        override: What people have set, if anything.
        throttle: To what share people have cut what passes, if they have.
        epoch: Rises with every transition; starts at ``incarnation`` x 1,000,000.
        revision: Rises with every change; starts at ``incarnation`` x 10^9.
        since_ms: When the state began.
        until_ms: When it ends by itself.
        reason: Why it is in this state.
        consecutive: Failures since the last success, over all gates: the sum of their rows.
        row_of_gone: The rows of gates that have fallen silent since.
        trouble_of_gone: For a window of calls: the ``trouble_at_call`` of such gates.
        wary: It lets calls pass although nobody has seen the downstream work: the first failure
            is enough.
        probes: Probes in flight, by id.
        probe_answers: Every probe id leased in this epoch, so that a repeat is answered alike.
        probe_successes: Probes that succeeded in this epoch.
        probe_failures: Probes that failed, or did not come back in time.
        reporters: The gates, by id.
        successes: Since the breaker began, like the four that follow.
        failures: Calls that failed.
        ignored: Calls that said nothing about the downstream.
        rejected: Calls that gates did not let pass.
        malformed: Reports that could not be used.
        transitions: The last ones, newest last.
        unsaved: Transitions that are not in Postgres yet.
        alerts: The outbox: alerts that are not delivered yet.
        alerts_lost: Alerts that were collapsed into a summary.
        alert_sequence: Number of the last alert.
        episodes: What people have been told of or will be, by the key of its alerts.
        openings: When it opened, lately; no more than it takes to be flapping.
        flapping: People have been told that it opens again and again, and of no opening since.
        opened_at_ms: When it last left CLOSED; null while CLOSED.
        alarmed: People have been told that it opened, and not yet that it recovered.
        reopenings: How many steps longer than ``open_ms`` the next open time is.
        open_time_ms: How long the last open time was, or is.
        half_open_epoch: The epoch with which HALF_OPEN last began, or was restored.
        judged: Successes and failures that went into the window, since the breaker began.
        retry_at_ms: Until when the downstream has asked not to be called.
        slow: Slow calls since the breaker began.
        excused: Failures that were not judged because a dependency was open.
        ramp_credit: What a ramp still owes, in millionths of a call; for single calls only.
        open_dependencies: Dependencies that are open, and since which of their epochs.
        heard_dependencies: The epoch of the last news of each dependency, open or not.
        told_dependents: Which of this breaker's epochs each dependent has been told of.
        told_pools: The limit that the governor of each pool has been told; None: that there is no
            limit.
        commands: The ids of the last operator commands, so that a repeat changes nothing.
        fleet: The limit of the calls of all gates, if there is one.
        spans: Outcomes by time that are not in Postgres yet, oldest first.
        affected: The tenants whose calls lately failed or were turned away.
    """

    downstream: str
    settings: BreakerSettings
    window: Sliding
    state: BreakerState = BreakerState.CLOSED
    override: Override | None = None
    throttle: Throttle | None = None
    epoch: int = 0
    revision: int = 0
    incarnation: int = 0
    since_ms: int = 0
    until_ms: int | None = None
    reason: str = "no failures seen"
    consecutive: int = 0
    row_of_gone: int = 0
    trouble_of_gone: list[int] = field(default_factory=list)
    wary: bool = False
    probes: dict[str, Probe] = field(default_factory=dict)
    probe_answers: list[str] = field(default_factory=list)
    probe_successes: int = 0
    probe_failures: int = 0
    reporters: dict[str, Reporter] = field(default_factory=dict)
    successes: int = 0
    failures: int = 0
    ignored: int = 0
    rejected: int = 0
    malformed: int = 0
    transitions: list[Transition] = field(default_factory=list)
    unsaved: list[Transition] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    alerts_lost: int = 0
    alert_sequence: int = 0
    episodes: dict[str, Episode] = field(default_factory=dict)
    openings: list[int] = field(default_factory=list)
    flapping: bool = False
    opened_at_ms: int | None = None
    alarmed: bool = False
    reopenings: int = 0
    open_time_ms: int = 0
    half_open_epoch: int = 0
    judged: int = 0
    retry_at_ms: int = 0
    slow: int = 0
    excused: int = 0
    ramp_credit: int = 0
    open_dependencies: dict[str, int] = field(default_factory=dict)
    heard_dependencies: dict[str, int] = field(default_factory=dict)
    told_dependents: dict[str, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    spans: list[OutcomeSpan] = field(default_factory=list)
    fleet: FleetConcurrency | None = None
    told_pools: dict[str, int | None] = field(default_factory=dict)
    told_revision: int = 0
    affected: dict[str, Affected] = field(default_factory=dict)

    @property
    def policy(self) -> BreakerPolicy:
        """Return the policy in force."""
        return self.settings.policy

    @property
    def effective(self) -> BreakerState:
        """Return the state that callers meet: what people have set, or else its own."""
        return self.state if self.override is None else self.override.mode


@dataclass(slots=True)
class BreakerInput:
    """The input of a breaker workflow.

    Attributes:
        downstream: Which one it governs.
        record: What the previous run carried over; None: restore from Postgres.
        saved_revision: The revision that Postgres has.
        options: How it keeps house.
    """

    downstream: str
    record: BreakerRecord | None = None
    saved_revision: int = -1
    options: EntityOptions = field(default_factory=EntityOptions)
