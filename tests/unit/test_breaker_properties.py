"""The breaker against a naive model that keeps every outcome and recomputes all from scratch."""

import math
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import TypeAdapter

from headgate.breaker import Breaker, BreakerRecord, SlidingCount
from headgate.breaker.machine import REPORTER_TTL_MS
from headgate.breaker.operator import obey
from headgate.breaker.sliding_time import BUCKETS
from headgate.model.breaker import (
    BreakerAction,
    BreakerCommand,
    BreakerState,
    CallOutcome,
    DependencyNews,
    OutcomeBucket,
    ProbeOutcome,
    ProbeRequest,
    Report,
)
from headgate.model.policy import BreakerPolicy, CountWindow, TimeWindow
from headgate.model.settings import BreakerSettings

START_MS = 1_700_000_000_000
RECORD = TypeAdapter(BreakerRecord)
CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN
HALF_OPEN, RAMP = BreakerState.HALF_OPEN, BreakerState.RAMP
MODES = {
    "force_open": BreakerState.FORCED_OPEN,
    "force_closed": BreakerState.FORCED_CLOSED,
    "shadow": BreakerState.SHADOW,
}
OUTCOMES = {".": CallOutcome.SUCCESS, "x": CallOutcome.FAILURE, "i": CallOutcome.IGNORED}
SLOW_MS = 100

POLICIES = [
    BreakerPolicy(min_calls=5, open_ms=2_000, probes=2, ramp_ms=3_000, quorum=2),
    BreakerPolicy(
        min_calls=3,
        failure_rate=0.3,
        consecutive_failures=4,
        slow_call_ms=SLOW_MS,
        slow_call_rate=0.6,
        open_factor=1.0,
        close_at=0.6,
        ramp_ms=0,
    ),
    BreakerPolicy(
        window=TimeWindow(seconds=6),
        failure_rate=None,
        consecutive_failures=3,
        slow_call_ms=SLOW_MS,
        min_calls=4,
        open_ms=500,
        open_factor=3.0,
        open_max_ms=7_000,
        open_jitter=0.5,
        probes=4,
        probe_deadline_ms=700,
        half_open_max_ms=1_500,
        close_at=0.5,
        ramp_ms=1_000,
    ),
    BreakerPolicy(
        window=CountWindow(kind="count", size=8),
        min_calls=4,
        failure_rate=0.7,
        quorum=2,
        open_ms=10_000,
        probes=1,
        probe_deadline_ms=1_000,
        half_open_max_ms=1_000,
        ramp_ms=0,
    ),
    BreakerPolicy(
        window=CountWindow(kind="count", size=3),
        failure_rate=0.6,
        consecutive_failures=2,
        slow_call_ms=SLOW_MS,
        open_ms=1_000,
        probes=2,
        ramp_ms=20_000,
    ),
]

gates = st.sampled_from(["one", "two", "three"])
calls = st.lists(st.sampled_from([".", "x", "x", "i", ".s", "xs"]), max_size=6)
seldom = st.sampled_from([False, False, False, True])
probe_ids = st.sampled_from([f"p{nth}" for nth in range(12)])


@dataclass
class Batch:
    """What one report said of the calls under one epoch: ``x`` failed, ``.s`` was slow."""

    gate: str
    at_ms: int
    calls: list[str]

    def count(self, sign: str) -> int:
        return sum(call.count(sign) for call in self.calls)

    @property
    def total(self) -> int:
        return self.count(".") + self.count("x")

    @property
    def slow(self) -> int:
        return sum(call.endswith("s") for call in self.calls)


@dataclass
class NaiveBreaker:
    """What the documentation says, with lists of all that happened instead of running numbers."""

    policy: BreakerPolicy
    epoch: int
    state: BreakerState = CLOSED
    since_ms: int = START_MS
    until_ms: int | None = None
    override: tuple[BreakerState, int | None] | None = None
    cut: tuple[float, int | None] | None = None
    batches: list[Batch] = field(default_factory=list)
    calls: deque[tuple[bool, bool]] = field(default_factory=deque)
    troubled: list[tuple[str, int, int]] = field(default_factory=list)
    judged: int = 0
    rows: list[tuple[str, int, str]] = field(default_factory=list)
    wary: bool = False
    all_calls: list[str] = field(default_factory=list)
    excused: int = 0
    counted: dict[str, set[int]] = field(default_factory=dict)
    heard_at: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    leased: set[str] = field(default_factory=set)
    probed: list[CallOutcome] = field(default_factory=list)
    half_open_epoch: int = 0
    steps: int = 0
    open_time_ms: int = 0
    retry_at_ms: int = 0
    news: list[DependencyNews] = field(default_factory=list)
    moves: list[tuple[BreakerState, BreakerState, bool]] = field(default_factory=list)

    # The window ------------------------------------------------------------------------------

    @property
    def bucket_ms(self) -> int:
        assert isinstance(self.policy.window, TimeWindow)
        return self.policy.window.seconds * 1_000 // BUCKETS

    def live(self, at_ms: int, now_ms: int) -> bool:
        return at_ms // self.bucket_ms > now_ms // self.bucket_ms - BUCKETS

    def window(self, now_ms: int) -> tuple[int, int, int]:
        """Return calls, failures and slow calls."""
        if isinstance(self.policy.window, CountWindow):
            held = list(self.calls)[-self.policy.window.size :]
            return len(held), sum(bad for bad, _ in held), sum(slow for _, slow in held)
        live = [batch for batch in self.batches if self.live(batch.at_ms, now_ms)]
        return (
            sum(batch.total for batch in live),
            sum(batch.count("x") for batch in live),
            sum(batch.slow for batch in live),
        )

    def witnesses(self, now_ms: int) -> int:
        known = set(self.counted)
        if isinstance(self.policy.window, CountWindow):
            gone = max(0, self.judged - self.policy.window.size)
            return len({gate for gate, _, call in self.troubled if call > gone} & known)
        return len({gate for gate, at_ms, _ in self.troubled if self.live(at_ms, now_ms)} & known)

    def judge_calls(self, batch: Batch) -> None:
        total, bad, slow = batch.total, batch.count("x"), batch.slow
        self.batches.append(batch)
        for n in range(total):  # mixed evenly, in whole calls
            self.calls.append(
                (
                    (n + 1) * bad // total > n * bad // total,
                    (n + 1) * slow // total > n * slow // total,
                )
            )
        self.judged += total
        if bad or slow:
            self.troubled.append((batch.gate, batch.at_ms, self.judged))
        text = "".join(call[0] for call in batch.calls)
        self.rows.append((batch.gate, batch.at_ms, text))
        if "." in text:
            self.wary = False

    def forget_window(self) -> None:
        self.batches.clear()
        self.calls.clear()
        self.troubled.clear()
        self.rows.clear()

    def consecutive(self) -> int:
        return sum(count for count, _ in self.failing().values())

    def is_unbroken(self, now_ms: int) -> bool:
        """Whether every gate that makes calls these days is in a row of failures."""
        called: dict[str, int] = {}
        for gate, at_ms, text in self.rows:
            if text == "gone":
                called.pop(gate, None)
            elif "." in text or "x" in text:
                called[gate] = max(called.get(gate, 0), at_ms)
        failing = self.failing()
        active_ms = max(10_000, 2 * max(1_000, len(self.heard_at) * 250))
        return all(
            failing.get(gate, [0])[0] > 0 or now_ms - at_ms > active_ms
            for gate, at_ms in called.items()
        )

    def failing(self) -> dict[str, list[int]]:
        failing: dict[str, list[int]] = {}  # by gate: how many, and since when
        for gate, at_ms, text in self.rows:
            if text == "gone":
                # Whoever comes back is another one, and any success ends what it had seen.
                count, _ = failing.pop(gate, [0, 0])
                failing["gone"] = [failing.get("gone", [0])[0] + count, 0]
                continue
            tail = text.rpartition(".")[2].count("x")
            if "." in text:
                failing = {g: row for g, row in failing.items() if row[1] > at_ms}
                failing[gate] = [tail, at_ms]
            elif tail:
                failing.setdefault(gate, [0, at_ms])
                if failing[gate][0] == 0:
                    failing[gate][1] = at_ms
                failing[gate][0] += tail
        return failing

    # The state -------------------------------------------------------------------------------

    @property
    def effective(self) -> BreakerState:
        return self.state if self.override is None else self.override[0]

    @property
    def is_cut(self) -> bool:
        return self.cut is not None and self.override is None

    @property
    def allow(self) -> str:
        if self.override is not None:
            return "none" if self.override[0] is BreakerState.FORCED_OPEN else "all"
        whole = "all" if self.cut is None else "ramp"
        return {CLOSED: whole, OPEN: "none", HALF_OPEN: "probes", RAMP: "ramp"}[self.state]

    def note(self, source: BreakerState, target: BreakerState, enforced: bool) -> None:
        self.epoch += 1
        self.moves.append((source, target, enforced))

    def move(self, state: BreakerState, now_ms: int, for_ms: int | None) -> None:
        self.note(self.state, state, self.override is None)
        self.state, self.since_ms = state, now_ms
        self.until_ms = None if for_ms is None else now_ms + for_ms
        self.forget_probes()
        if state is HALF_OPEN:
            self.half_open_epoch = self.epoch

    def forget_probes(self) -> None:
        self.in_flight.clear()
        self.leased.clear()
        self.probed.clear()

    def open(self, now_ms: int) -> None:
        policy = self.policy
        if self.state is CLOSED and self.open_time_ms:
            self.steps = max(0, self.steps - (now_ms - self.since_ms) // self.open_time_ms)
        plain = min(policy.open_max_ms, policy.open_ms * policy.open_factor**self.steps)
        asked = min(policy.open_max_ms, self.retry_at_ms - now_ms)
        self.open_time_ms = max(round(plain), asked)
        self.steps += 1
        self.move(OPEN, now_ms, self.open_time_ms)

    def come_back(self, now_ms: int) -> None:
        self.forget_window()
        self.wary = CallOutcome.SUCCESS not in self.probed
        if self.policy.ramp_ms:
            self.move(RAMP, now_ms, self.policy.ramp_ms)
        else:
            self.move(CLOSED, now_ms, None)

    def trips(self, now_ms: int) -> bool:
        policy, wary = self.policy, self.state is RAMP
        total, bad, slow = self.window(now_ms)
        row, enough = policy.consecutive_failures, policy.min_calls
        if isinstance(policy.window, CountWindow):
            enough = min(enough, policy.window.size)
        if wary:
            row = policy.probes if row is None else min(row, policy.probes)
            enough = min(enough, policy.probes)
        if self.wary:
            row = 1
        met = row is not None and self.consecutive() >= row and self.is_unbroken(now_ms)
        if total >= enough and total:
            rate = policy.failure_rate
            met |= rate is not None and Fraction(bad, total) >= Fraction(str(rate))
            met |= slow > 0 and Fraction(slow, total) >= Fraction(str(policy.slow_call_rate))
        return met and (policy.quorum == 1 or self.witnesses(now_ms) >= policy.quorum)

    def judge(self, now_ms: int) -> None:
        policy = self.policy
        if self.state in (CLOSED, RAMP):
            if self.trips(now_ms):
                self.open(now_ms)
        elif self.state is HALF_OPEN:
            needed = math.ceil(policy.probes * Fraction(str(policy.close_at)))
            if self.probed.count(CallOutcome.SUCCESS) >= needed:
                self.come_back(now_ms)
            elif self.probed.count(CallOutcome.FAILURE) > policy.probes - needed:
                self.open(now_ms)

    def advance(self, now_ms: int) -> None:
        if self.override is not None and self.override[1] is not None:
            mode, until_ms = self.override
            if until_ms is not None and now_ms >= until_ms:
                self.override = None
                self.note(mode, self.state, True)
        if self.cut is not None and self.cut[1] is not None and now_ms >= self.cut[1]:
            self.uncut()
        over = self.until_ms is not None and now_ms >= self.until_ms
        if self.state is OPEN and over:
            self.move(HALF_OPEN, now_ms, self.policy.half_open_max_ms)
        elif self.state is RAMP and over:
            self.move(CLOSED, now_ms, None)
        elif self.state is HALF_OPEN:
            overdue = [id for id, deadline_ms in self.in_flight.items() if now_ms >= deadline_ms]
            for id in overdue:
                del self.in_flight[id]
                excused = self.is_open_dependency()
                self.excused += excused
                self.probed.append(CallOutcome.IGNORED if excused else CallOutcome.FAILURE)
            if overdue:
                self.judge(now_ms)
            if self.state is HALF_OPEN and over:
                lost = self.in_flight and not self.is_open_dependency()
                if CallOutcome.FAILURE in self.probed or lost:
                    self.open(now_ms)
                else:
                    self.come_back(now_ms)

    # What comes in ---------------------------------------------------------------------------

    def is_new(self, report: Report, now_ms: int) -> bool:
        for gate, heard_at in list(self.heard_at.items()):
            if now_ms - heard_at > REPORTER_TTL_MS:
                self.forget_gate(gate)
        self.heard_at[report.gate] = now_ms
        counted = self.counted.setdefault(report.gate, set())
        if report.seq in counted or (counted and report.seq < max(counted) - 32):
            return False
        counted.add(report.seq)
        return True

    def forget_gate(self, gate: str) -> None:
        del self.counted[gate], self.heard_at[gate]
        self.troubled = [trouble for trouble in self.troubled if trouble[0] != gate]
        self.rows.append((gate, 0, "gone"))

    def free(self) -> int:
        judged = [outcome for outcome in self.probed if outcome is not CallOutcome.IGNORED]
        return max(0, self.policy.probes - len(self.in_flight) - len(judged))

    def is_open_dependency(self) -> bool:
        latest: dict[str, tuple[int, bool]] = {}
        for news in self.news:
            if news.epoch > latest.get(news.downstream, (-1, False))[0]:
                latest[news.downstream] = (news.epoch, news.is_open)
        return any(is_open for _, is_open in latest.values())

    def report(self, report: Report, sent: list[str], now_ms: int) -> None:
        if not self.is_new(report, now_ms):
            return
        self.advance(now_ms)
        [bucket] = report.buckets
        batch = Batch(report.gate, min(bucket.at_ms, now_ms), list(sent))
        self.all_calls += sent
        oldest = {OPEN: -1, HALF_OPEN: self.half_open_epoch}.get(self.state, self.epoch)
        if bucket.retry_after_ms and (oldest <= bucket.epoch <= self.epoch or bucket.epoch == -1):
            self.retry_at_ms = max(self.retry_at_ms, batch.at_ms + bucket.retry_after_ms)
            if self.state is OPEN and self.until_ms is not None:
                last = self.since_ms + self.policy.open_max_ms
                self.until_ms = max(self.until_ms, min(self.retry_at_ms, last))
                self.open_time_ms = self.until_ms - self.since_ms
        if bucket.epoch in (self.epoch, -1):
            if self.is_open_dependency() and batch.count("x"):
                self.excused += batch.count("x")
                good = [call for call in batch.calls if "x" not in call]
                # A report does not say which of its calls were slow: they are taken as good ones.
                slow = min(batch.slow, sum(call[0] == "." for call in good))
                plain = [call[0] for call in good]
                for n, call in enumerate(plain):
                    if call == "." and slow:
                        plain[n], slow = ".s", slow - 1
                batch.calls = plain
            if self.state in (CLOSED, RAMP):
                self.judge_calls(batch)
            elif self.state is HALF_OPEN and self.allow == "all":
                for sign, outcome in (("x", CallOutcome.FAILURE), (".", CallOutcome.SUCCESS)):
                    for _ in range(min(self.free(), batch.count(sign))):
                        self.probed.append(outcome)
        for probe in report.probes:
            limit = self.policy.slow_call_ms
            late = limit is not None and probe.duration_ms >= limit
            slow = late and probe.outcome is not CallOutcome.IGNORED
            known = self.half_open_epoch <= probe.epoch <= self.epoch
            if known and self.in_flight.pop(probe.id, None) is not None:
                outcome = CallOutcome.FAILURE if slow else probe.outcome
                if probe.outcome is CallOutcome.FAILURE and self.is_open_dependency():
                    outcome = CallOutcome.IGNORED
                    self.excused += 1
                self.probed.append(outcome)
            sign = {"success": ".", "failure": "x", "ignored": "i"}[probe.outcome]
            self.all_calls.append(sign + "s" * slow)
        self.judge(now_ms)

    def lease(self, request: ProbeRequest, now_ms: int) -> list[str]:
        self.advance(now_ms)
        granted = []
        if self.allow == "probes" and request.epoch == self.epoch:
            for id in request.ids:
                if id not in self.leased and self.free():
                    self.leased.add(id)
                    self.in_flight[id] = now_ms + self.policy.probe_deadline_ms
                if id in self.in_flight:
                    granted.append(id)
        return granted

    def configure(self, policy: BreakerPolicy, now_ms: int) -> None:
        self.advance(now_ms)
        if policy.window != self.policy.window:
            total, bad, slow = self.window(now_ms)
            old = self.policy.window
            if isinstance(policy.window, CountWindow) and isinstance(old, CountWindow):
                self.calls = deque(list(self.calls)[-old.size :])
            elif isinstance(policy.window, TimeWindow) and isinstance(old, TimeWindow):
                for batch in self.batches:
                    batch.at_ms = (
                        batch.at_ms // self.bucket_ms * self.bucket_ms
                        if self.live(batch.at_ms, now_ms)
                        else 0
                    )
            else:
                self.batches.clear()
                self.calls.clear()
                row, judged, troubled = list(self.rows), self.judged, list(self.troubled)
                wary = self.wary
                signs = ["x"] * bad + ["."] * (total - bad)
                signs = [sign + "s" * (n < slow) for n, sign in enumerate(signs)]
                self.judge_calls(Batch("", now_ms, signs))
                self.rows, self.judged, self.troubled, self.wary = row, judged, troubled, wary
        self.policy = policy
        self.judge(now_ms)

    def uncut(self) -> None:
        self.cut = None
        self.note(self.effective, self.effective, self.override is None)

    def obey(self, action: str, for_ms: int | None, now_ms: int) -> None:
        self.advance(now_ms)
        source = self.effective
        if action == "throttle":
            self.cut = 0.3, None if for_ms is None else now_ms + for_ms
            self.note(source, source, True)
        elif action in MODES:
            self.override = MODES[action], None if for_ms is None else now_ms + for_ms
            self.note(source, MODES[action], True)
        elif action == "resume":
            if self.cut is not None:
                self.uncut()
                self.moves[-1] = (*self.moves[-1][:2], True)  # by people
            if self.override is not None:
                self.override = None
                self.note(source, self.state, True)
        else:
            self.override = self.cut = None
            self.forget_window()
            self.forget_probes()
            self.wary = False
            self.steps = self.open_time_ms = self.retry_at_ms = 0
            self.state, self.since_ms, self.until_ms = CLOSED, now_ms, None
            self.note(source, CLOSED, True)

    def restore(self, incarnation: int, now_ms: int) -> None:
        blocks = max(incarnation, self.epoch // 1_000_000 + 1)
        self.epoch = self.half_open_epoch = blocks * 1_000_000
        for gate, heard_at in list(self.heard_at.items()):
            if now_ms - heard_at > REPORTER_TTL_MS:
                self.forget_gate(gate)
        if self.state is HALF_OPEN:
            self.forget_probes()
            self.until_ms = now_ms + self.policy.half_open_max_ms
        self.advance(now_ms)


class BreakerAgainstModel(RuleBasedStateMachine):
    """Three gates whose reports are late, lost, repeated and out of order, and people besides."""

    @initialize(policy=st.sampled_from(POLICIES))
    def begin(self, policy: BreakerPolicy) -> None:
        self.now_ms = START_MS
        self.depends_on = ["store", "mail"]
        self.breaker = Breaker.begin("scanner", self.settings(policy), 1, START_MS)
        self.model = NaiveBreaker(policy, self.breaker.record.epoch)
        self.on_the_way: list[tuple[Report, list[str]]] = []
        self.sent: dict[str, int] = {}
        self.commands: list[BreakerCommand] = []
        self.last = (0, 0)

    def settings(self, policy: BreakerPolicy) -> BreakerSettings:
        return BreakerSettings(policy=policy, depends_on=["store", "mail"])

    def post(
        self,
        gate: str,
        calls: list[str],
        age_ms: int = 0,
        epochs_ago: int = 0,
        probes: tuple[str, ...] = (),
        retry_after_ms: int = 0,
    ) -> None:
        self.sent[gate] = self.sent.get(gate, 0) + 1
        epoch = -1 if epochs_ago < 0 else max(0, self.breaker.record.epoch - epochs_ago)
        batch = Batch(gate, self.now_ms - age_ms, calls)
        row = "".join(call[0] for call in calls)
        report = Report(
            gate=gate,
            seq=self.sent[gate],
            task_queue=gate,
            buckets=[
                OutcomeBucket(
                    at_ms=batch.at_ms,
                    epoch=epoch,
                    successes=batch.count("."),
                    failures=batch.count("x"),
                    ignored=batch.count("i"),
                    trailing_failures=row.rpartition(".")[2].count("x"),
                    slow=batch.slow,
                    retry_after_ms=retry_after_ms,
                )
            ],
            probes=[
                ProbeOutcome(
                    id=probe[1:],
                    epoch=epoch,
                    outcome=OUTCOMES[probe[0].replace("s", ".")],
                    duration_ms=SLOW_MS if probe[0] == "s" else 0,
                )
                for probe in probes
            ],
        )
        self.on_the_way.append((report, calls))

    def deliver(self, report: Report, calls: list[str]) -> None:
        self.breaker.report(report, self.now_ms)
        self.model.report(report, calls, self.now_ms)

    @rule(
        gate=gates,
        calls=calls,
        age_ms=st.integers(-1_000, 70_000),
        epochs_ago=st.sampled_from([0, 0, 0, 0, 1, 2, -1]),
        retry_after_ms=st.sampled_from([0, 0, 0, 5_000, 80_000]),
        at_once=st.booleans(),
    )
    def gate_reports(
        self,
        gate: str,
        calls: list[str],
        age_ms: int,
        epochs_ago: int,
        retry_after_ms: int,
        at_once: bool,
    ) -> None:
        self.post(gate, calls, age_ms, epochs_ago, (), retry_after_ms)
        if at_once:
            self.deliver(*self.on_the_way.pop())

    @rule(gate=gates, calls=st.lists(st.sampled_from([".", ".", ".s", "x"]), min_size=2))
    def calls_end_now(self, gate: str, calls: list[str]) -> None:
        self.post(gate, calls)
        self.deliver(*self.on_the_way.pop())

    @rule()
    @precondition(lambda self: self.breaker.record.state in (CLOSED, RAMP))
    def downstream_breaks(self) -> None:
        for gate in ("one", "two"):
            self.post(gate, ["x"] * 6)
            self.deliver(*self.on_the_way.pop())

    @rule(gate=gates, some=st.integers(1, 5))
    @precondition(lambda self: self.breaker.record.state is OPEN)
    def open_time_ends_and_a_gate_probes(self, gate: str, some: int) -> None:
        self.deadline_is_met()
        self.gate_asks_for_probes(gate, [f"p{nth}" for nth in range(some)], 0)

    @rule(
        gate=gates,
        good=st.lists(st.sampled_from(".....xis"), min_size=12, max_size=12),
        some=st.integers(1, 4),
        epochs_ago=st.sampled_from([0, 0, 0, 1]),
        at_once=st.booleans(),
    )
    @precondition(lambda self: self.breaker.record.probes)
    def gate_reports_probes(
        self, gate: str, good: list[str], some: int, epochs_ago: int, at_once: bool
    ) -> None:
        ids = sorted(self.breaker.record.probes)[:some]
        signs = [sign + id for sign, id in zip(good, ids, strict=False)]
        self.post(gate, [], 0, epochs_ago, tuple(signs))
        if at_once:
            self.deliver(*self.on_the_way.pop())

    @rule(
        pick=st.integers(0, 1_000), keep=st.booleans(), lose=st.sampled_from([False] * 4 + [True])
    )
    @precondition(lambda self: self.on_the_way)
    def report_arrives(self, pick: int, keep: bool, lose: bool) -> None:
        index = pick % len(self.on_the_way)
        report, calls = self.on_the_way[index]
        if not keep:
            del self.on_the_way[index]
        if not lose:
            self.deliver(report, calls)

    @rule(
        gate=gates,
        ids=st.lists(probe_ids, max_size=5),
        epochs_ago=st.sampled_from([0, 0, 0, 0, 1, -1]),
    )
    def gate_asks_for_probes(self, gate: str, ids: list[str], epochs_ago: int) -> None:
        request = ProbeRequest(gate=gate, epoch=self.breaker.record.epoch - epochs_ago, ids=ids)
        reply = self.breaker.lease_probes(request, self.now_ms)
        assert reply.granted == self.model.lease(request, self.now_ms)
        deadlines = [self.model.in_flight[id] for id in reply.granted]
        assert reply.deadline_ms == min(deadlines, default=None)
        assert reply.verdict == self.breaker.verdict()

    @rule(pause_ms=st.sampled_from([1, 99, 500, 1_000, 6_000, 30_000, 60_000, 130_000]))
    def time_passes(self, pause_ms: int) -> None:
        self.now_ms += pause_ms

    @rule()
    @precondition(lambda self: self.breaker.next_deadline() is not None)
    def deadline_is_met(self) -> None:
        deadline = self.breaker.next_deadline()
        assert deadline is not None
        state, until_ms = self.breaker.record.state, self.breaker.record.until_ms
        self.now_ms = max(self.now_ms, deadline)
        self.breaker.advance(self.now_ms)
        self.model.advance(self.now_ms)
        later = self.breaker.next_deadline()
        assert later is None or later > self.now_ms
        if until_ms is not None and self.now_ms >= until_ms:
            assert self.breaker.record.state is not state

    @rule(policy=st.sampled_from(POLICIES), now=seldom)
    def policy_changes(self, policy: BreakerPolicy, now: bool) -> None:
        if not now:
            return
        self.breaker.configure(self.settings(policy), self.now_ms)
        self.model.configure(policy, self.now_ms)

    @rule(
        action=st.sampled_from(
            ["force_open", "force_closed", "shadow", "throttle", "resume", "reset"]
        ),
        for_ms=st.sampled_from([None, 1_000, 20_000, 100_000]),
        now=seldom,
    )
    def people_command(
        self,
        action: BreakerAction,
        for_ms: int | None,
        now: bool,
    ) -> None:
        if not now:
            return
        command = BreakerCommand(
            id=str(len(self.commands)),
            action=action,
            actor="ann",
            reason="because",
            for_ms=for_ms,
            share=0.3 if action == "throttle" else None,
        )
        self.commands.append(command)
        obey(self.breaker, command, self.now_ms)
        self.model.obey(action, for_ms, self.now_ms)

    @rule(pick=st.integers(0, 1_000))
    @precondition(lambda self: self.commands)
    def a_command_is_repeated(self, pick: int) -> None:
        obey(self.breaker, self.commands[pick % len(self.commands)], self.now_ms)
        self.model.advance(self.now_ms)

    @rule(
        downstream=st.sampled_from(["store", "mail", "stranger"]),
        is_open=st.booleans(),
        epoch=st.integers(-1, 6),
        now=seldom,
    )
    def a_dependency_speaks(self, downstream: str, is_open: bool, epoch: int, now: bool) -> None:
        if not now:
            return
        news = DependencyNews(downstream=downstream, is_open=is_open, epoch=epoch)
        self.breaker.hear(news)
        if downstream != "stranger":
            self.model.news.append(news)

    @rule()
    def workflow_continues_as_new(self) -> None:
        before = RECORD.dump_json(self.breaker.record)
        self.breaker = Breaker(RECORD.validate_json(before))
        assert RECORD.dump_json(self.breaker.record) == before

    @rule(lost=st.integers(0, 50), now=seldom)
    def workflow_is_reset(self, lost: int, now: bool) -> None:
        if not now:
            return
        self.breaker.rise_above(self.breaker.record.revision + lost)
        self.model.epoch = self.breaker.record.epoch

    @rule(now=seldom)
    def workflow_is_restored(self, now: bool) -> None:
        if not now:
            return
        record = RECORD.validate_json(RECORD.dump_json(self.breaker.record))
        incarnation = record.incarnation + 1
        self.breaker = Breaker.restore(record, incarnation, self.now_ms)
        self.model.restore(incarnation, self.now_ms)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        record, model = self.breaker.record, self.model
        assert (record.state, record.effective) == (model.state, model.effective)
        assert self.breaker.allow == model.allow
        assert self.breaker.verdict().share(self.now_ms) <= (0.3 if model.is_cut else 1.0)
        assert (record.epoch, record.since_ms) == (model.epoch, model.since_ms)
        assert record.until_ms == model.until_ms
        assert record.open_time_ms == model.open_time_ms
        assert record.consecutive == model.consecutive()
        assert {id: probe.deadline_ms for id, probe in record.probes.items()} == model.in_flight
        assert bool(record.open_dependencies) == model.is_open_dependency()

    @invariant()
    def every_move_is_written_down(self) -> None:
        kept = self.breaker.record.transitions
        moves = [(step.source, step.target, step.enforced) for step in kept]
        assert moves == self.model.moves[-50:]
        assert [step.epoch for step in kept] == sorted({step.epoch for step in kept})

    @invariant()
    def totals_are_those_of_the_distinct_reports(self) -> None:
        record, seen = self.breaker.record, "".join(self.model.all_calls)
        got = (record.successes, record.failures, record.ignored, record.slow, record.excused)
        assert got == (*(seen.count(sign) for sign in ".xis"), self.model.excused)
        spans = record.spans
        assert sum(span.successes for span in spans) == record.successes
        assert sum(span.failures for span in spans) == record.failures
        assert [span.at_ms for span in spans] == sorted({span.at_ms for span in spans})

    @invariant()
    def the_window_holds_what_a_recomputation_finds(self) -> None:
        window = RECORD.validate_json(RECORD.dump_json(self.breaker.record)).window
        window.advance(self.now_ms)
        got = window.calls, window.total_failures, window.total_slow
        assert got == self.model.window(self.now_ms)
        assert self.breaker.view(self.now_ms).witnesses == self.model.witnesses(self.now_ms)
        assert isinstance(window, SlidingCount) == isinstance(self.model.policy.window, CountWindow)

    @invariant()
    def probes_are_bounded_and_deadlines_are_there(self) -> None:
        record = self.breaker.record
        most = max(policy.probes for policy in POLICIES)
        assert len(record.probes) + record.probe_successes + record.probe_failures <= most
        assert min(record.probe_successes, record.probe_failures) >= 0
        assert (record.until_ms is None) == (record.state is CLOSED)
        assert not record.probes or record.state is HALF_OPEN

    @invariant()
    def epoch_and_revision_only_rise(self) -> None:
        now = (self.breaker.record.epoch, self.breaker.record.revision)
        assert now[1] >= now[0] >= self.last[0]
        assert now[1] >= self.last[1]
        assert now[0] == self.last[0] or now[1] > self.last[1]
        self.last = now

    @invariant()
    def an_alert_says_only_what_callers_meet(self) -> None:
        record = self.breaker.record
        told = False
        for alert in record.alerts:
            assert alert.kind != "breaker.recovered" or told or record.alerts_lost
            told = alert.kind != "breaker.recovered"
        assert told == record.alarmed
        if record.override is None:
            assert record.alarmed == (record.state is not BreakerState.CLOSED)
        assert len({alert.id for alert in record.alerts}) == len(record.alerts)


TestBreakerAgainstModel = BreakerAgainstModel.TestCase
TestBreakerAgainstModel.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


# Whatever the contract accepts -------------------------------------------------------------------

counts = st.sampled_from([0, 1, 2, 1_000_000_000])
numbers = st.one_of(st.integers(0, 5), st.integers(10**6, 10**6 + 5), st.integers(0, 10**30))


@st.composite
def buckets(draw: st.DrawFn) -> OutcomeBucket:
    successes, failures = draw(counts), draw(counts)
    at_ms = st.sampled_from([0, 1, START_MS - 1, START_MS, START_MS + 1, 253_402_300_799_000])
    return OutcomeBucket(
        at_ms=draw(at_ms),
        epoch=draw(st.one_of(st.just(-1), numbers)),
        successes=successes,
        failures=failures,
        ignored=draw(counts),
        rejected=draw(counts),
        trailing_failures=draw(st.integers(0, failures)) if successes else failures,
        slow=draw(st.integers(0, min(successes + failures, 10**9))),
        duration_ms=draw(at_ms),
        retry_after_ms=draw(at_ms),
    )


probe_outcomes = st.builds(
    ProbeOutcome,
    id=st.sampled_from(["", "p0", "p1", "\N{SNOWMAN}\x00"]),
    epoch=st.one_of(st.integers(-(10**30), -1), numbers),
    outcome=st.sampled_from(list(CallOutcome)),
    duration_ms=st.sampled_from([0, 99, 253_402_300_799_000]),
)
reports = st.builds(
    Report,
    gate=st.sampled_from(["one", "two", "\N{SNOWMAN}"]),
    seq=st.one_of(st.integers(1, 50), st.integers(1, 10**30)),
    task_queue=st.sampled_from(["q", "\x00"]),
    buckets=st.lists(buckets(), max_size=3),
    probes=st.lists(probe_outcomes, max_size=3),
)


@given(
    policy=st.sampled_from(POLICIES),
    sent=st.lists(st.tuples(reports, st.sampled_from([0, 1_000, 30_000]))),
    setup=st.sampled_from(["closed", "open", "half_open", "shadow"]),
)
@settings(max_examples=150, deadline=None)
def test_no_report_that_the_contract_accepts_raises(
    policy: BreakerPolicy, sent: list[tuple[Report, int]], setup: str
) -> None:
    breaker = Breaker.begin("scanner", BreakerSettings(policy=policy), 1, START_MS)
    now_ms, first = START_MS, {"at_ms": 1, "epoch": -1, "failures": 4, "trailing_failures": 4}
    if setup in ("open", "half_open"):
        for gate in ("a", "b"):
            fields: dict[str, Any] = {"gate": gate, "seq": 1, "task_queue": "q"}
            breaker.report(
                Report.model_validate({**fields, "buckets": [{**first, "at_ms": START_MS}]}), now_ms
            )
        assert breaker.record.state is OPEN
    if setup == "half_open":
        now_ms = breaker.next_deadline() or 0
        request = ProbeRequest(gate="a", epoch=breaker.record.epoch + 1, ids=["p0", "p1"])
        assert breaker.lease_probes(request, now_ms).granted
    if setup == "shadow":
        command = BreakerCommand(id="1", action="shadow", actor="ann", reason="because")
        obey(breaker, command, now_ms)
    epoch = breaker.record.epoch
    for report, pause_ms in sent:
        now_ms += pause_ms
        breaker.advance(now_ms)
        breaker.report(report, now_ms)
        breaker.verdict()
        breaker.view(now_ms)
        again = RECORD.validate_json(RECORD.dump_json(breaker.record))
        assert again == breaker.record
        assert breaker.record.epoch >= epoch
        epoch = breaker.record.epoch
        deadline = breaker.next_deadline()
        assert deadline is None or deadline > now_ms
