"""Where governed activities run: admitted right before the call, recorded right after it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from temporalio import activity
from temporalio.common import MetricMeter
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from headgate.gate import Call
from headgate.gate.classify import classify_error, classify_result, is_overload, retry_after_ms
from headgate.gate.clock import now_ms
from headgate.gate.metrics import counter, histogram
from headgate.gate.outcomes import NOBODY, Ended
from headgate.gate.protocol import AnyGate, AnyLane
from headgate.gate.ticket import Refusal, Ticket
from headgate.model.breaker import CallOutcome
from headgate.model.contract import is_name
from headgate.model.lease import MOST_HOLD_MS
from headgate.model.outcomes import OutcomeRules
from headgate.model.reason import Reason, ReasonCode
from headgate.orchestrator.errors import CALL_DENIED
from headgate.orchestrator.governed import GovernedActivity
from headgate.orchestrator.headers import AGAIN_HEADER, TENANT_MEMO, call_of, holds, tenant_of
from headgate.orchestrator.mistakes import shown
from headgate.view import metrics

_DEFAULT_TIMEOUT_S: Final = 60.0
_SHORT_PATIENCE_S: Final = 2.0
"""A call that Temporal may retry as often as it likes waits no longer in the process: meanwhile it
would keep a slot from others."""

_LONGEST_KEY: Final = 500
_PATIENT_PART: Final = 0.5
"""The part of its time that a call may wait; the rest is for what it is there to do."""


class GovernedCalls(ActivityInboundInterceptor):
    """Meets every activity of a worker, and lets those that are not governed pass untouched.

    Args:
        next: What executes them.
        gate: Returns the gate of this process, once it is running.
        governed: How activities are governed, by type.
    """

    def __init__(
        self,
        next: ActivityInboundInterceptor,
        gate: Callable[[], Awaitable[AnyGate]],
        governed: Mapping[str, GovernedActivity],
    ) -> None:
        super().__init__(next)
        self._gate = gate
        self._governed = governed
        self._running: AnyGate | None = None

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Admit, call, record."""
        info = activity.info()
        how = self._governed.get(info.activity_type)
        permit = call_of(input.headers)
        if how is None and permit is None:
            return await self.next.execute_activity(input)
        gate = self._running
        if gate is None or not gate.is_running:
            gate = self._running = await self._gate()
        if how is None:
            assert permit is not None
            return await self._under_permit(input, gate, permit, info)
        return await self._governed_call(input, gate, how, permit, info)

    # Under a job's permit ----------------------------------------------------------------------

    async def _under_permit(
        self, input: ExecuteActivityInput, gate: AnyGate, call: Call, info: activity.Info
    ) -> Any:
        key = _key(info)
        ticket = await gate.begin(call, key)
        if isinstance(ticket, Refusal):
            about = _About(call.downstream, call.tenant, call.resource)
            ticket = await _insist(lambda _: gate.begin(call, key), info, about, refusal=ticket)
        end = _End(gate.rules(call), None)
        try:
            with end:
                end.result = await self.next.execute_activity(input)
            return end.result
        finally:
            gate.end(call, ticket, end.ended)

    # On its own --------------------------------------------------------------------------------

    async def _governed_call(
        self,
        input: ExecuteActivityInput,
        gate: AnyGate,
        how: GovernedActivity,
        permit: Call | None,
        info: activity.Info,
    ) -> Any:
        what = how.call
        tenant = permit.tenant if permit is not None else tenant_of(input.headers, info)
        resource = what.resource
        of_permit = permit is not None and permit.resource == resource
        if of_permit or holds(input.headers, resource):
            resource = None  # the permit of its job holds units of it
        units = what.units
        if resource is not None:
            if tenant is None or not is_name(tenant):
                refusal = Refusal(_no_tenant(info.activity_type, tenant), None)
                raise _denied(refusal, what.downstream, None, resource)
            if how.units_of is not None:
                units = _units(how, input)
        tenant = tenant or NOBODY
        kept = None
        if resource is not None and what.hold == "job":
            is_first = info.attempt == 1 and AGAIN_HEADER not in input.headers
            await self._hold_for_job(gate, how, tenant, resource, units, info, is_first)
            kept, resource = resource, None
        lane = gate.lane(what.downstream, tenant, resource)
        if permit is not None and permit.downstream == what.downstream:
            # Its permit has been let pass for it: with a probe perhaps, or the last place.
            ticket = await self._admitted(gate, lane, how, tenant, resource, units, info, permit)
        else:
            ticket = lane.enter(units, _call_ms(info)) or await self._admitted(
                gate, lane, how, tenant, resource, units, info
            )
        rules = lane.downstream.verdict.outcomes
        end = _End(rules, how)
        try:
            with end:
                end.result = await self.next.execute_activity(input)
            if kept is not None and info.attempt == 1 and info.workflow_run_id is not None:
                gate.jobs.called(info.workflow_run_id, tenant, kept)
            return end.result
        finally:
            if end.outcome is not CallOutcome.SUCCESS or not lane.leave(ticket):
                lane.settle(ticket, end.ended)

    async def _admitted(
        self,
        gate: AnyGate,
        lane: AnyLane,
        how: GovernedActivity,
        tenant: str,
        resource: str | None,
        units: int,
        info: activity.Info,
        permit: Call | None = None,
    ) -> Ticket:
        key, hold_ms, priority = _key(info), _call_ms(info), how.call.priority
        wait = lane.wait
        if permit is not None:
            wait = partial(lane.wait_under, partial(gate.begin, permit, key))

        async def ask(patience_s: float) -> Ticket | Refusal:
            return await wait(
                units, tenant, key, patience_s=patience_s, hold_ms=hold_ms, priority=priority
            )

        return await _insist(ask, info, _About(how.call.downstream, tenant, resource))

    async def _hold_for_job(
        self,
        gate: AnyGate,
        how: GovernedActivity,
        tenant: str,
        resource: str,
        units: int,
        info: activity.Info,
        is_first: bool,
    ) -> None:
        workflow_id, run_id = info.workflow_id, info.workflow_run_id
        if workflow_id is None or run_id is None:
            raise ApplicationError(
                f"activity {info.activity_type} has hold='job' but was not started by a workflow",
                type=CALL_DENIED,
                non_retryable=True,
            )
        if gate.jobs.holds(run_id, tenant, resource):
            return
        patience = _Patience.of(info)
        async with _heartbeats(info):
            while True:
                refusal = await gate.hold_for_job(
                    workflow_id,
                    run_id,
                    tenant,
                    resource,
                    units,
                    patience_s=patience.left_s,
                    hold_ms=_call_ms(info),
                    priority=how.call.priority,
                    is_first=is_first,
                )
                if refusal is None:
                    return
                is_first = False
                if not await patience.outlasts(refusal):
                    raise _denied(refusal, how.call.downstream, tenant, resource)


class _About(NamedTuple):
    """What a call is, for who asks why it was held back."""

    downstream: str
    tenant: str | None
    resource: str | None


async def _insist(
    ask: Callable[[float], Awaitable[Ticket | Refusal]],
    info: activity.Info,
    about: _About,
    refusal: Refusal | None = None,
) -> Ticket:
    """Wait for admission as long as that makes sense here, else leave it to Temporal's retry.

    A retry costs one of the activity's attempts. Where these are limited, a call waits in the
    process as long as its timeouts bear it.

    Args:
        ask: Asks for admission, and may take so many seconds for it.
        info: Of the activity.
        about: What is called, and for whom.
        refusal: What it was answered just now, if it has asked already.

    Raises:
        ApplicationError: It is held back for longer than that.
    """
    patience, began_s = _Patience.of(info), time.monotonic()
    answer: Ticket | Refusal | None = refusal
    async with _heartbeats(info):
        while True:
            if answer is None:
                answer = await ask(patience.left_s)
            if isinstance(answer, Ticket):
                _count_wait(about.downstream, time.monotonic() - began_s)
                return answer
            if not await patience.outlasts(answer):
                _count_wait(about.downstream, time.monotonic() - began_s)
                raise _denied(answer, *about)
            answer = None


@dataclass(slots=True)
class _Patience:
    """How long a call may wait in this process.

    Attributes:
        until_s: By the monotonic clock.
    """

    until_s: float

    @classmethod
    def of(cls, info: activity.Info) -> "_Patience":
        elapsed_s = max(0.0, (datetime.now(UTC) - info.started_time).total_seconds())
        whole_s: list[float] = []
        if info.start_to_close_timeout:
            whole_s.append(info.start_to_close_timeout.total_seconds())
        if info.schedule_to_close_timeout:
            # It holds for all attempts. Both times are the server's.
            past = info.started_time - info.scheduled_time
            whole_s.append((info.schedule_to_close_timeout - past).total_seconds())
        left_s = max(0.0, min(whole_s, default=_DEFAULT_TIMEOUT_S) - elapsed_s)
        retries = info.retry_policy
        may_wait_s = left_s * _PATIENT_PART
        if retries is None or retries.maximum_attempts == 0:
            may_wait_s = min(may_wait_s, _SHORT_PATIENCE_S)
        return cls(time.monotonic() + may_wait_s)

    @property
    def left_s(self) -> float:
        return max(0.0, self.until_s - time.monotonic())

    async def outlasts(self, refusal: Refusal) -> bool:
        """Wait until it makes sense to try again; False: that is too far off."""
        if refusal.retry_at_ms is None:
            return False
        pause_s = max(0.01, (refusal.retry_at_ms - now_ms()) / 1000)
        if pause_s > self.left_s:
            return False
        await asyncio.sleep(pause_s)
        return True


def _key(info: activity.Info) -> str:
    """Return what tells one attempt of one call from all others, as the id of a probe may be."""
    return f"{info.workflow_run_id}:{info.attempt}:{info.activity_id}"[:_LONGEST_KEY]


def _call_ms(info: activity.Info) -> int:
    """Return how long a call may take; Temporal gives it up then."""
    timeout = info.start_to_close_timeout or info.schedule_to_close_timeout
    whole_s = timeout.total_seconds() if timeout else _DEFAULT_TIMEOUT_S
    return min(round(whole_s * 1000), MOST_HOLD_MS)


class _End:
    """How a call has ended, and what that says of the downstream."""

    def __init__(self, rules: OutcomeRules, how: GovernedActivity | None) -> None:
        self._rules = rules
        self._own_rule = None if how is None else how.own_rule
        self._began_s = time.monotonic()
        self.result: Any = None
        self.outcome = CallOutcome.IGNORED
        self._retry_ms = 0
        self._overload = False

    def __enter__(self) -> None:
        self._began_s = time.monotonic()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        said = None
        if self._own_rule is not None and (error is None or isinstance(error, Exception)):
            said = self._own_rule(self.result if error is None else error)
        if error is None:
            self.outcome = said or classify_result(self.result, self._rules)
        else:
            self.outcome = said or classify_error(error, self._rules)
            self._retry_ms = retry_after_ms(error)
            self._overload = is_overload(error)

    @property
    def ended(self) -> Ended:
        """The end as the gate takes it."""
        duration_ms = round((time.monotonic() - self._began_s) * 1000)
        return Ended(self.outcome, duration_ms, self._retry_ms, self._overload)


def _units(how: GovernedActivity, input: ExecuteActivityInput) -> int:
    """Return how much a call takes.

    Raises:
        ApplicationError: The user's function does not say. Trying again would not help.
    """
    assert how.units_of is not None
    cause: Exception | None = None
    try:
        units = how.units_of(*input.args)
    except FailureError:
        raise  # it says by itself what is to become of the call
    except Exception as error:
        what, cause = f"raised {shown(error)}", error
    else:
        if isinstance(units, int) and not isinstance(units, bool) and units >= 1:
            return units
        what = f"came out as {shown(units)}"
    resource = how.call.resource
    message = f"@governed: units of {resource} {what}: a whole number of at least 1 is needed"
    reason = Reason(code=ReasonCode.CAN_NEVER_FIT, message=message, resource=resource)
    raise ApplicationError(
        message,
        *_details(reason, how.call.downstream, None, resource),
        type=CALL_DENIED,
        non_retryable=True,
    ) from cause


def _no_tenant(activity_type: str, said: str | None) -> Reason:
    ways = "governance.permit(), HeadgatePlugin(tenant=...), a fairness key, or the memo {}"
    if said is None:
        what = f"nobody said for which tenant activity {activity_type} is called: use "
    else:
        what = (
            f"activity {activity_type} is called for {shown(said)}, which is no name of a tenant: "
            "write at most 200 letters, digits and . _ : @ / + -, beginning with a letter or a "
            "digit, by "
        )
    return Reason(code=ReasonCode.UNKNOWN_TENANT, message=what + ways.format(TENANT_MEMO))


@asynccontextmanager
async def _heartbeats(info: activity.Info) -> AsyncIterator[None]:
    """Heartbeat for an activity that only waits, so that Temporal does not take it for dead."""
    if info.heartbeat_timeout is None or info.is_local:
        yield
        return
    every_s = info.heartbeat_timeout.total_seconds() / 3

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_s)
            activity.heartbeat(*info.heartbeat_details)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def _meter() -> MetricMeter:
    """Return where to count; activities that run in other processes have no meter."""
    try:
        return activity.metric_meter()
    except RuntimeError:
        return MetricMeter.noop


def _count_wait(downstream: str, waited_s: float) -> None:
    wait = histogram(_meter(), metrics.CALL_WAIT)
    wait.record(waited_s, {"downstream": downstream})


def _details(
    reason: Reason, downstream: str, tenant: str | None, resource: str | None
) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Return what a denial has in its details: why, and then for whom and of what."""
    about = {
        "tenant": None if tenant == NOBODY else tenant,
        "resource": resource,
        "downstream": downstream,
    }
    return reason.model_dump(mode="json", exclude_none=True), about


def _denied(
    refusal: Refusal, downstream: str, tenant: str | None, resource: str | None
) -> ApplicationError:
    """Return the error of a call that is held back, and count it.

    Its second detail says for whom it was, and of what, for ``headgate why``.
    """
    denied = counter(_meter(), metrics.CALLS_DENIED)
    denied.add(1, {"downstream": downstream, "reason": refusal.reason.code.value})
    never = refusal.retry_at_ms is None
    delay_ms = 0 if refusal.retry_at_ms is None else max(1, refusal.retry_at_ms - now_ms())
    return ApplicationError(
        f"call held back: {refusal.reason.message}",
        *_details(refusal.reason, downstream, tenant, resource),
        type=CALL_DENIED,
        non_retryable=never,
        next_retry_delay=None if never else timedelta(milliseconds=delay_ms),
        category=ApplicationErrorCategory.BENIGN,
    )
