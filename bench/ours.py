"""Headgate on the stage: the real state machine, with gates and messages that take their time.

One ``headgate.breaker.Breaker`` serves the fleet, as in its workflow. Every node has a gate that
does what ``headgate.gate.downstream`` does, restated here on simulated time: it keeps the last
verdict, asks before a call when that is old, lets a call wait a moment for those in flight, asks
for probes. When it reports, how careful it is and when it holds back by itself, what a report holds
and how calls come back along a ramp are ``headgate.gate.watch``, ``headgate.gate.outcomes`` and
``headgate.gate.ramp`` themselves. A message from gate to breaker and one back each take
``message_ms``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.stage import Agenda, Call, Stage
from headgate.breaker import Breaker
from headgate.breaker.single import Pass, SingleBreaker
from headgate.gate.outcomes import Ended, Outcomes
from headgate.gate.ramp import Ramp
from headgate.gate.watch import PASSES, PATIENCE_MS, Watch
from headgate.model.breaker import (
    BreakerState,
    CallOutcome,
    ProbeOutcome,
    ProbeRequest,
    Report,
    Verdict,
)
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings

MESSAGE_MS: Final = 50

_CAUTION_MS: Final = 500
_RETRY_PROBE_MS: Final = 1_000
_VERDICT_AGE_MS: Final = 30_000
_VERDICT_OUTDATED_MS: Final = 120_000
_MAX_PROBE_ASKS: Final = 50


@dataclass(slots=True)
class _Ticket:
    epoch: int
    at_ms: int
    probe: str | None


@dataclass(slots=True)
class _Held:
    call: Call
    until_ms: int
    then: Callable[[Call, int], None]


class Headgate:
    """A fleet with one breaker for all nodes.

    Args:
        stage: Where the calls are made.
        policy: Of the breaker.
        message_ms: How long a message takes, one way.
    """

    def __init__(self, stage: Stage, policy: BreakerPolicy, message_ms: int = MESSAGE_MS) -> None:
        self.stage = stage
        self.agenda = stage.agenda
        self.message_ms = message_ms
        settings = BreakerSettings(policy=policy)
        self.breaker = Breaker.begin("downstream", settings, 1, self.agenda.now_ms)
        self._pushed_epoch = self.breaker.record.epoch
        self.gates = [_Gate(self, node) for node in range(stage.nodes)]
        for gate in self.gates:
            gate.introduce()

    def offer(self, call: Call) -> None:
        """Ask the node's gate."""
        self.gates[call.node].offer(call)

    def settle(self, call: Call) -> None:
        """Tell the node's gate."""
        self.gates[call.node].settle(call)

    def keeps_away(self, node: int) -> bool:
        """Return whether the node's gate lets no ordinary call pass."""
        return self.gates[node].keeps_away()

    def later(self, do: Callable[[], None]) -> None:
        """Do something when a message has arrived."""
        self.agenda.at(self.agenda.now_ms + self.message_ms, do)

    def hear(self, report: Report) -> None:
        """Let the breaker take a report."""
        self.breaker.report(report, self.agenda.now_ms)
        self.follow()

    def follow(self) -> None:
        """Push a new verdict, and come back when the breaker next has something to do."""
        record = self.breaker.record
        if record.epoch != self._pushed_epoch:
            self._pushed_epoch = record.epoch
            verdict = self.breaker.verdict()
            for gate in record.reporters:
                self.later(partial(self.gates[int(gate)].take, verdict))
        deadline = self.breaker.next_deadline()
        if deadline is not None:
            self.agenda.at(deadline, partial(self._wake, record.epoch, deadline))

    def _wake(self, epoch: int, deadline: int) -> None:
        if (
            self.breaker.record.epoch == epoch and self.breaker.next_deadline() == deadline
        ):  # nobody was faster
            self.breaker.advance(self.agenda.now_ms)
            self.follow()


class _Gate:
    """What one process knows; follows ``headgate.gate.downstream.Downstream``."""

    def __init__(self, fleet: Headgate, node: int) -> None:
        self._fleet = fleet
        self._id = str(node)
        self._verdict = Verdict.unknown("downstream")
        self._heard_at_ms = 0
        self._asking_verdict = False
        self._waiting_for_verdict: list[Call] = []
        self._in_flight: dict[int, _Ticket] = {}
        self._watch = Watch()
        self._probes_busy_until_ms = 0
        self._outcomes = Outcomes()
        self._seq = 0
        self._armed_ms: int | None = None
        self._held: list[_Held] = []
        self._looks_at: dict[int, int] = {}
        self._asking: list[Call] = []
        self._lease_under_way = False
        self._ramp = Ramp()

    @property
    def _now(self) -> int:
        return self._fleet.agenda.now_ms

    def introduce(self) -> None:
        """Say hello; the breaker knows this gate and it knows the verdict before the play."""
        self._fleet.breaker.report(self._report(), self._now)
        verdict = self._fleet.breaker.verdict()
        self._watch.hear(verdict, self._verdict, self._now)
        self._verdict = verdict
        self._heard_at_ms = self._now

    def keeps_away(self) -> bool:
        return self._verdict.allow in ("none", "probes") or self._watch.holds_back(
            self._verdict, self._now
        )

    # Admission ---------------------------------------------------------------------------------

    def offer(self, call: Call) -> None:
        age_ms = self._now - self._heard_at_ms
        if age_ms > _VERDICT_AGE_MS and not self._asking_verdict:
            self._asking_verdict = True  # what is known stays in force meanwhile
            self._fleet.later(self._answer_verdict)
        if age_ms > _VERDICT_OUTDATED_MS:
            self._waiting_for_verdict.append(call)
        else:
            self._receive(call)

    def _receive(self, call: Call) -> None:
        """Decide about a call, or wait a moment when what keeps it away may soon be over."""
        self._be_patient(call, self._now + PATIENCE_MS)

    def _be_patient(self, call: Call, until_ms: int) -> None:
        now = self._now
        if now < until_ms and self._refuses(now) and self._watch.is_patient(self._verdict, now):
            self._hold(call, until_ms, self._be_patient)
        else:
            self._consider(call, now + _CAUTION_MS)

    def _hold(self, call: Call, until_ms: int, then: Callable[[Call, int], None]) -> None:
        self._held.append(_Held(call, until_ms, then))
        if self._looks_at.get(call.id) != until_ms:
            # A call that waits on is held anew each time that something has changed.
            self._looks_at[call.id] = until_ms
            self._fleet.agenda.at(until_ms, self._look_at_held)

    def _consider(self, call: Call, until_ms: int) -> None:
        """Decide about a call, now or when another has settled."""
        now = self._now
        if self._refuses(now):
            self._refuse(call)
        elif self._verdict.allow == "probes":
            self._asking.append(call)
            self._lease()
        elif now < until_ms and self._is_cautious(now):
            self._hold(call, until_ms, self._consider)
        elif self._verdict.allow == "all":
            self._ramp.count(now)
            self._let_pass(call, None)
        elif self._ramp.passes("tenant", self._verdict.share(now), now):
            self._let_pass(call, None)
        else:
            self._refuse(call)

    def _refuses(self, now: int) -> bool:
        allow = self._verdict.allow
        return (
            allow == "none"
            or (allow == "probes" and now < self._probes_busy_until_ms)
            or self._watch.holds_back(self._verdict, now)
        )

    def _is_cautious(self, now: int) -> bool:
        began_ms = (ticket.at_ms for ticket in self._in_flight.values())
        return self._watch.is_cautious(self._verdict, began_ms, now)

    def _look_at_held(self) -> None:
        held, self._held = self._held, []
        for waiting in held:
            # A call that has to wait on adds itself to the list again.
            waiting.then(waiting.call, waiting.until_ms)

    def _let_pass(self, call: Call, probe: str | None) -> None:
        self._in_flight[call.id] = _Ticket(self._verdict.epoch, self._now, probe)
        self._fleet.stage.make(call, probe is not None)

    def _refuse(self, call: Call) -> None:
        self._outcomes.reject(self._verdict.epoch, self._now)
        self._report_by(self._now + self._verdict.report_every_ms)
        self._fleet.stage.refuse(call)

    # Probes ------------------------------------------------------------------------------------

    def _lease(self) -> None:
        if self._lease_under_way or not self._asking:
            return
        calls, self._asking = self._asking[:_MAX_PROBE_ASKS], self._asking[_MAX_PROBE_ASKS:]
        self._lease_under_way = True
        request = ProbeRequest(
            gate=self._id, epoch=self._verdict.epoch, ids=[str(call.id) for call in calls]
        )

        def at_breaker() -> None:
            reply = self._fleet.breaker.lease_probes(request, self._now)
            self._fleet.follow()
            self._fleet.later(lambda: at_gate(reply.granted, reply.verdict))

        def at_gate(granted: list[str], verdict: Verdict) -> None:
            self.take(verdict)
            self._lease_under_way = False
            for call in calls:
                self._answer_probe(call, str(call.id) in granted, request.epoch)
            self._lease()

        self._fleet.later(at_breaker)

    def _answer_probe(self, call: Call, granted: bool, epoch: int) -> None:
        if granted and self._verdict.epoch == epoch:
            self._let_pass(call, str(call.id))
        elif self._verdict.allow in PASSES:
            self._let_pass(call, None)
        else:
            if self._verdict.allow == "probes":
                self._probes_busy_until_ms = self._now + _RETRY_PROBE_MS
            self._refuse(call)

    # Outcomes and reports ----------------------------------------------------------------------

    def settle(self, call: Call) -> None:
        answer, ticket, now = call.answer, self._in_flight.pop(call.id), self._now
        assert answer is not None
        outcome = CallOutcome.SUCCESS if answer.ok else CallOutcome.FAILURE
        if ticket.probe is not None:
            self._outcomes.probes.append(
                ProbeOutcome(
                    id=ticket.probe,
                    epoch=ticket.epoch,
                    outcome=outcome,
                    duration_ms=answer.duration_ms,
                )
            )
            self._watch.settle_probe(now)
        else:
            slow_ms = self._verdict.slow_call_ms
            slow = slow_ms is not None and answer.duration_ms >= slow_ms
            self._outcomes.add(Ended(outcome, answer.duration_ms), ticket.epoch, now, slow=slow)
            self._watch.settle(outcome, ticket.epoch, self._verdict, now, slow=slow)
        self._arm()
        self._look_at_held()

    def take(self, verdict: Verdict) -> None:
        self._heard_at_ms = self._now
        if verdict.epoch < self._verdict.epoch:
            return
        self._watch.hear(verdict, self._verdict, self._now)
        if verdict.epoch != self._verdict.epoch:
            self._probes_busy_until_ms = 0
            if verdict.allow == "ramp":
                self._ramp.begin(self._now)
        self._verdict = verdict
        self._fleet.stage.look()
        self._look_at_held()

    def _answer_verdict(self) -> None:
        def at_gate(verdict: Verdict) -> None:
            self._asking_verdict = False
            self.take(verdict)
            waiting, self._waiting_for_verdict = self._waiting_for_verdict, []
            for call in waiting:
                self._receive(call)

        self._fleet.later(partial(at_gate, self._fleet.breaker.verdict()))

    def _report_by(self, at_ms: int) -> None:
        self._watch.report_by(at_ms)
        self._arm()

    def _arm(self) -> None:
        due_ms = self._watch.due_ms
        if due_ms is not None and (self._armed_ms is None or due_ms < self._armed_ms):
            self._armed_ms = due_ms
            self._fleet.agenda.at(due_ms, self._report_if_due)

    def _report_if_due(self) -> None:
        due_ms = self._watch.due_ms
        if due_ms is not None and self._now >= due_ms:
            self._fleet.later(partial(self._fleet.hear, self._report()))

    def _report(self) -> Report:
        self._seq += 1
        buckets, probes = self._outcomes.take()
        self._watch.report(buckets, self._now)
        self._armed_ms = None
        return Report(
            gate=self._id, seq=self._seq, task_queue=self._id, buckets=buckets, probes=probes
        )


class Machine:
    """The state machine alone, asked directly: one process, no messages, no gate."""

    def __init__(self, stage: Stage, policy: BreakerPolicy) -> None:
        self._stage = stage
        self._breaker = single(policy, stage.agenda)
        self._passes: dict[int, Pass] = {}

    def offer(self, call: Call) -> None:
        """Ask the machine."""
        given = self._breaker.admit(self._stage.agenda.now_ms)
        if given is None:
            self._stage.refuse(call)
        else:
            self._passes[call.id] = given
            self._stage.make(call, isinstance(given, str))

    def settle(self, call: Call) -> None:
        """Tell the machine."""
        answer = call.answer
        assert answer is not None
        outcome = CallOutcome.SUCCESS if answer.ok else CallOutcome.FAILURE
        now_ms = self._stage.agenda.now_ms
        self._breaker.settle(self._passes.pop(call.id), outcome, now_ms, answer.duration_ms)

    def keeps_away(self, node: int) -> bool:
        """Return whether it lets no ordinary call pass."""
        return self._breaker.breaker.record.state in (BreakerState.OPEN, BreakerState.HALF_OPEN)


def single(policy: BreakerPolicy, agenda: Agenda) -> SingleBreaker:
    """Return the state machine for one process alone."""
    settings = BreakerSettings(policy=policy)
    return SingleBreaker(Breaker.begin("downstream", settings, 1, agenda.now_ms))
