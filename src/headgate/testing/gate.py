"""``FakeGate``: a gate that grants everything until a test tells it otherwise."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate import Call
from headgate.gate.clock import now_ms
from headgate.gate.outcomes import Ended
from headgate.gate.slots import WorkerSlots
from headgate.gate.ticket import Refusal, Ticket
from headgate.model.breaker import Verdict
from headgate.model.entity import GRANTED_SIGNAL
from headgate.model.errors import ConfigurationError
from headgate.model.ledger import Admit, Decision, Grant, Outcome, Release
from headgate.model.outcomes import OutcomeRules
from headgate.model.reason import Reason, ReasonCode
from headgate.orchestrator.mistakes import shown
from headgate.testing.lane import FakeDownstream, FakeJobs, FakeLane, FakeTicket
from headgate.testing.obstacles import Denial, Line, Match, Waiting, require_name
from headgate.testing.records import Asked, Called, Refused
from headgate.testing.server_time import ServerTime

_RETRY_IN_MS: Final = 1_000
_HOLD_MS: Final = 3_600_000
_OPEN_FOR: Final = timedelta(seconds=30)


class FakeGate:
    """Stands in for the gate of a worker, and for all governance behind it.

    It grants everything at once, and writes down what it was asked. Obstacles are looked at in the
    order in which the test has put them up; the first that fits counts. Times are those of the test
    server, also while it skips time.

    One gate serves the workers of one client at a time.

    Args:
        outcomes: How outcomes are classified, by downstream, as ``outcomes`` in ``headgate.yaml``.

    Attributes:
        admitted: What was granted, in that order.
        refused: What was not, and why; asking again is refused again.
        released: What was given back.
        calls: The governed calls that were made, in the order in which they ended.

    Raises:
        ValueError: ``outcomes`` cannot be used.
    """

    def __init__(self, outcomes: Mapping[str, OutcomeRules] | None = None) -> None:
        self.id = "fake"
        self.is_running = False
        self.slots = WorkerSlots()
        self.admitted: list[Asked] = []
        self.refused: list[Refused] = []
        self.released: list[Asked] = []
        self.calls: list[Called] = []
        self.jobs = FakeJobs(self._release)
        self._outcomes = _checked(outcomes)
        self._denials: list[Denial] = []
        self._lines: list[Line] = []
        self._held: dict[str, Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Client | None = None
        self._time = ServerTime()
        self._loop: asyncio.AbstractEventLoop | None = None

    # For tests ---------------------------------------------------------------------------------

    @property
    def held(self) -> list[Asked]:
        """What was granted and is not given back yet."""
        return list(self._held.values())

    def deny(
        self,
        *,
        tenant: str | None = None,
        resource: str | None = None,
        downstream: str | None = None,
        code: ReasonCode | str | None = None,
        message: str = "the test denies it",
        retry_in: timedelta | None = None,
    ) -> Denial:
        """Refuse what fits all that is given here.

        Args:
            tenant: For whom is asked.
            resource: Of what.
            downstream: What is to be called.
            code: Why; by default ``breaker_open`` if only a downstream is given, else
                ``quota_used_up``.
            message: The same in words.
            retry_in: When it makes sense to ask again, zero or more; counts for each job from its
                first refusal, and from then on nothing of this refuses it. None: never, as long as
                the denial is not lifted.

        Returns:
            The denial, to be lifted.

        Raises:
            ValueError: One of these cannot be used: there is no such reason, or the time is past.
        """
        if code is None:
            only_downstream = downstream is not None and tenant is None and resource is None
            code = ReasonCode.BREAKER_OPEN if only_downstream else ReasonCode.QUOTA_USED_UP
        if code not in [*ReasonCode]:
            known = ", ".join(ReasonCode)
            raise ValueError(f"FakeGate: {shown(code)} is no reason; write one of {known}")
        if not isinstance(message, str) or not message:
            raise ValueError(f"FakeGate: message is {shown(message)}: write why, in words")
        reason = Reason(code=ReasonCode(code), message=message)
        retry_in_ms = None if retry_in is None else _ms("retry_in", retry_in)
        denial = Denial(Match(tenant, resource, downstream), reason, retry_in_ms)
        self._denials.append(denial)
        return denial

    def open_breaker(self, downstream: str, open_for: timedelta = _OPEN_FOR) -> Denial:
        """Open the breaker of a downstream: who asks is told to come again after that time.

        Args:
            downstream: Of what.
            open_for: Counts for each job from its first refusal.

        Raises:
            ValueError: One of these cannot be used.
        """
        require_name("downstream", downstream)
        _ms("open_for", open_for)
        return self.deny(
            downstream=downstream,
            message=f"breaker of {downstream} is OPEN: the test has opened it",
            retry_in=open_for,
        )

    def close_breaker(self, downstream: str) -> None:
        """Lift all denials that concern this downstream and nothing else.

        Raises:
            ValueError: It is no name.
        """
        require_name("downstream", downstream)
        for denial in self._denials:
            if denial.match == Match(downstream=downstream):
                denial.lift()

    def keep_waiting(self, *, tenant: str | None = None, resource: str | None = None) -> Line:
        """Let those wait who ask for what fits, as long as they are willing to.

        Returns:
            The line in which they stand, to grant from.

        Raises:
            ValueError: One of these is no name.
        """
        line = Line(Match(tenant, resource))
        self._lines.append(line)
        return line

    # A gate as the plugin knows it -------------------------------------------------------------

    def meet(self, client: Client) -> None:
        """Serve the workers of a client.

        Raises:
            ConfigurationError: It is serving those of another one.
        """
        if self.is_running and client is not self._client:
            raise ConfigurationError(
                "FakeGate serves the workers of another client already: give each client a "
                "FakeHeadgatePlugin with a gate of its own"
            )
        self._client = client
        self._time = ServerTime(client)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See ``Gate``."""
        self._loop = asyncio.get_running_loop()
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def call_soon(self, do: Callable[[], None]) -> None:
        """See ``Gate``."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(do)

    async def admit(self, request: Admit) -> Decision:
        """See ``Gate``."""
        asked = Asked(
            "permit",
            request.tenant,
            request.resource,
            request.downstream,
            request.units,
            dict(request.also),
            request.priority,
            request.id,
            request.holder.run_id,
        )
        now = await self._time.now_ms()
        if request.id in self._held and not request.held:
            return self._granted(request)  # asked again, because the answer got lost
        denial = self._denial(asked, now)
        if denial is not None:
            if request.held:
                self._release(request.id)
            left_ms = denial.left_ms(asked.job, now)
            return self._denied(asked, denial.reason, None if left_ms is None else now + left_ms)
        line = None if request.held else self._line(asked)
        if line is None:
            if not request.held:
                self._admit(asked)
            return self._granted(request)
        reason = Reason(code=ReasonCode.QUOTA_USED_UP, message="the test lets it wait")
        if request.wait_until_ms is None:
            return self._denied(asked, reason, now + _RETRY_IN_MS)
        holder = request.holder

        def tell() -> None:
            self._admit(asked)
            self._start(
                self._signal(holder.workflow_id, Grant(id=request.id, expires_at_ms=now + _HOLD_MS))
            )

        line.join(Waiting(asked, tell))
        return Decision(id=request.id, outcome=Outcome.WAITING, reason=reason)

    async def release(self, message: Release) -> None:
        """See ``Gate``."""
        self.release_soon(message)

    def release_soon(self, message: Release) -> None:
        """See ``Gate``."""
        for line in self._lines:
            line.withdraw(message.id)
        self._release(message.id)

    async def begin(self, call: Call, key: str) -> Ticket | Refusal:
        """See ``Gate``."""
        permit = self._held.get(call.permit)
        # It may have been given by another process.
        units, job = (1, call.permit) if permit is None else (permit.units, permit.job)
        asked = Asked("call", call.tenant, call.resource, call.downstream, units, job=job)
        now = await self._time.now_ms()
        # Its units are held by its job; only the downstream may still be in the way.
        denial = self._denial(replace(asked, resource=None), now)
        if denial is not None:
            return self._refusal(asked, denial, now)
        return FakeTicket(asked)

    def rules(self, call: Call) -> OutcomeRules:
        """See ``Gate``."""
        return self._outcomes.get(call.downstream, OutcomeRules())

    def end(self, call: Call, ticket: Ticket, ended: Ended) -> None:
        """See ``Gate``."""
        assert isinstance(ticket, FakeTicket)
        self.settle(ticket, ended)

    def lane(self, downstream: str, tenant: str, resource: str | None) -> FakeLane:
        """See ``Gate``."""
        rules = self._outcomes.get(downstream, OutcomeRules())
        verdict = Verdict.unknown(downstream).model_copy(update={"outcomes": rules})
        return FakeLane(self, FakeDownstream(verdict), tenant, resource)

    async def hold_for_job(
        self,
        workflow_id: str,
        run_id: str,
        tenant: str,
        resource: str,
        units: int,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
        is_first: bool = True,
    ) -> Refusal | None:
        """See ``Gate``."""
        id = f"{run_id}/{tenant}/{resource}"
        asked = Asked("job", tenant, resource, None, units, priority=priority, id=id, job=run_id)
        async with self.jobs.once(id):
            if self.jobs.holds(run_id, tenant, resource):
                return None
            refusal = await self.ask(asked, patience_s)
            if refusal is None:
                self.jobs.note(run_id, tenant, resource)
            return refusal

    # For its lanes -----------------------------------------------------------------------------

    async def ask(self, asked: Asked, patience_s: float) -> Refusal | None:
        """Grant what a call needs, at once or when its turn has come; else say why not."""
        now = await self._time.now_ms()
        if (denial := self._denial(asked, now)) is not None:
            return self._refusal(asked, denial, now)
        if (line := self._line(asked)) is None:
            self._admit(asked)
            return None
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell() -> None:
            if not come.done():
                self._admit(asked)
                come.set_result(None)

        waiting = Waiting(asked, tell)
        line.join(waiting)
        try:
            await asyncio.wait([come], timeout=patience_s)
        finally:
            line.leave(waiting)
        if come.done():
            return None
        reason = Reason(code=ReasonCode.QUOTA_USED_UP, message="the test lets it wait")
        self.refused.append(Refused(asked, reason.code))
        return Refusal(reason, now_ms() + _RETRY_IN_MS)

    def settle(self, ticket: FakeTicket, ended: Ended) -> None:
        """Write down how a call ended, and take back what it held."""
        asked = ticket.asked
        self._release(asked.id)
        assert asked.downstream is not None
        self.calls.append(
            Called(
                asked.tenant,
                asked.resource,
                asked.downstream,
                asked.units,
                ended.outcome,
                ended.duration_ms,
                ended.retry_after_ms,
                ended.overload,
            )
        )

    # Inside ------------------------------------------------------------------------------------

    def _denial(self, asked: Asked, now: int) -> Denial | None:
        for denial in self._denials:
            if denial.match.fits(asked) and not denial.is_over(asked.job, now):
                return denial
        return None

    def _line(self, asked: Asked) -> Line | None:
        for line in self._lines:
            if line.match.fits(asked) and not line.is_open:
                return line
        return None

    def _admit(self, asked: Asked) -> None:
        self.admitted.append(asked)
        self._held[asked.id] = asked

    def _release(self, id: str) -> None:
        asked = self._held.pop(id, None)
        if asked is not None:
            self.released.append(asked)

    def _granted(self, request: Admit) -> Decision:
        return Decision(id=request.id, outcome=Outcome.GRANTED, quiet=True)

    def _denied(self, asked: Asked, reason: Reason, retry_at_ms: int | None) -> Decision:
        self.refused.append(Refused(asked, reason.code))
        return Decision(id=asked.id, outcome=Outcome.DENIED, retry_at_ms=retry_at_ms, reason=reason)

    def _refusal(self, asked: Asked, denial: Denial, now: int) -> Refusal:
        self.refused.append(Refused(asked, denial.reason.code))
        left_ms = denial.left_ms(asked.job, now)
        # Calls reckon by the clock of their process.
        return Refusal(denial.reason, None if left_ms is None else now_ms() + left_ms)

    def _start(self, do: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(do)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _signal(self, workflow_id: str, grant: Grant) -> None:
        assert self._client is not None
        try:
            await self._client.get_workflow_handle(workflow_id).signal(GRANTED_SIGNAL, grant)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            self._release(grant.id)  # it has ended meanwhile


def _checked(outcomes: Mapping[str, OutcomeRules] | None) -> dict[str, OutcomeRules]:
    """Return how outcomes are classified; raises as ``FakeGate``."""
    such = "OutcomeRules(ignored=['4xx'])"
    if outcomes is not None and not isinstance(outcomes, Mapping):
        raise ValueError(
            f"FakeGate: outcomes is {shown(outcomes)}: write rules by downstream, such as "
            f"{{'scanner': {such}}}"
        )
    for downstream, rules in (outcomes or {}).items():
        require_name("a downstream of outcomes", downstream)
        if not isinstance(rules, OutcomeRules):
            raise ValueError(
                f"FakeGate: outcomes of {downstream} is {shown(rules)}: write rules, such as {such}"
            )
    return dict(outcomes or {})


def _ms(what: str, span: timedelta) -> int:
    """Return a time in milliseconds.

    Raises:
        ValueError: It is none, or past.
    """
    if not isinstance(span, timedelta) or span < timedelta(0):
        raise ValueError(
            f"FakeGate: {what} is {shown(span)}: write a timedelta of zero or more, such as "
            "timedelta(minutes=5)"
        )
    return round(span / timedelta(milliseconds=1))
