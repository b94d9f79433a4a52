"""Governing calls without the job doing anything.

The permit travels to the activity in a header; the activity's outcome travels to the gate.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from headgate.gate import Call, Gate
from headgate.gate.classify import classify_error, classify_result, retry_after_ms
from headgate.gate.clock import now_ms
from headgate.gate.downstream import Refusal
from headgate.gate.outcomes import Ended
from headgate.model.breaker import CallOutcome
from headgate.model.entity import ADMIT, RELEASE
from headgate.orchestrator.errors import CALL_DENIED
from headgate.orchestrator.governance import current_permit

HEADER: Final = "headgate-call"


class HeadgateInterceptor(Interceptor):
    """Puts the permit on activities that leave a workflow, and meets them where they run.

    Args:
        gate: Returns the gate of this process, once it is running.
    """

    def __init__(self, gate: Callable[[], Awaitable[Gate]]) -> None:
        self._gate = gate

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _GovernedActivities(next, self._gate)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        return _PermitsOnTheWay


class _GovernedActivities(ActivityInboundInterceptor):
    def __init__(
        self, next: ActivityInboundInterceptor, gate: Callable[[], Awaitable[Gate]]
    ) -> None:
        super().__init__(next)
        self._gate = gate

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        header = input.headers.get(HEADER)
        if header is None:
            return await self.next.execute_activity(input)
        call = Call.model_validate_json(header.data)
        gate = await self._gate()
        ticket = await gate.begin(call)
        if isinstance(ticket, Refusal):
            raise _denied(ticket)
        began_s = time.monotonic()
        rules = gate.rules(call)
        outcome, retry_ms = CallOutcome.IGNORED, 0
        try:
            result = await self.next.execute_activity(input)
            outcome = classify_result(result, rules)
            return result
        except BaseException as error:
            outcome = classify_error(error, rules)
            retry_ms = retry_after_ms(error)
            raise
        finally:
            duration_ms = round((time.monotonic() - began_s) * 1000)
            gate.end(call, ticket, Ended(outcome, duration_ms, retry_ms))


def _denied(refusal: Refusal) -> ApplicationError:
    return ApplicationError(
        f"call held back: {refusal.reason.message}",
        refusal.reason.model_dump(mode="json", exclude_none=True),
        type=CALL_DENIED,
        next_retry_delay=timedelta(milliseconds=max(1, refusal.retry_at_ms - now_ms())),
        category=ApplicationErrorCategory.BENIGN,
    )


class _PermitsOnTheWay(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_PermitHeaders(outbound))


class _PermitHeaders(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        _add_header(input)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        if input.activity not in (ADMIT, RELEASE):
            _add_header(input)
        return super().start_local_activity(input)


def _add_header(input: StartActivityInput | StartLocalActivityInput) -> None:
    permit = current_permit()
    if permit is None or permit.call is None:
        return
    data = permit.call.model_dump_json(exclude_none=True).encode()
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    input.headers = {**input.headers, HEADER: payload}
