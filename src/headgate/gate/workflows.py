"""Talking to a governance workflow: starting it on demand, and what is worth another try."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from headgate.model.errors import UnavailableError

Result = TypeVar("Result")

_TRY_AGAIN: Final = {
    RPCStatusCode.ABORTED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.FAILED_PRECONDITION,  # an update that met a continue-as-new
    RPCStatusCode.INTERNAL,
    RPCStatusCode.NOT_FOUND,  # an update that met a continue-as-new, in another place
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNKNOWN,
}
_LEFT_UNDONE: Final = {
    "AcceptedUpdateCompletedWorkflow",  # it met a continue-as-new
    "UnprocessedUpdate",  # the server lost sight of its workflow task
}
_UNREADABLE: Final = "Failed decoding arguments"
"""What the SDK says of a message that its converter or codec cannot read."""

_RPC_TIMEOUT: Final = timedelta(seconds=5)


class GovernanceWorkflow:
    """One breaker or ledger, as a gate or an operator reaches it.

    Args:
        client: Of the namespace.
        workflow: The type's name.
        id: The workflow's id.
        start: Its input, for the case that it does not run yet.
        task_queue: Where governance workers poll.
    """

    def __init__(
        self, client: Client, workflow: str, id: str, start: object, task_queue: str
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._id = id
        self._start = start
        self._task_queue = task_queue

    async def update(
        self, name: str, message: object, update_id: str, result: type[Result], give_up_s: float
    ) -> Result:
        """Send an update until it is answered; the workflow is started when there is none.

        Args:
            name: Of the update.
            message: Its argument; carries the ids by which the workflow knows a repeat.
            update_id: The same for every attempt.
            result: The type of the answer.
            give_up_s: How long to go on, in seconds.

        Raises:
            UnavailableError: It was not answered in time.
            WorkflowUpdateFailedError: The workflow refused it.
        """

        async def running() -> Result:
            answer: Result = await self._handle.execute_update(
                name, message, id=update_id, result_type=result, rpc_timeout=_RPC_TIMEOUT
            )
            return answer

        async def started() -> Result:
            start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
                self._workflow,
                self._start,
                id=self._id,
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
            try:
                answer: Result = await self._client.execute_update_with_start_workflow(
                    name,
                    message,
                    start_workflow_operation=start,
                    id=update_id,
                    result_type=result,
                    rpc_timeout=_RPC_TIMEOUT,
                )
            except BaseException:
                # The operation keeps the same error for whoever asks for its handle. Nobody will,
                # and asyncio complains of errors that nobody has looked at.
                with suppress(Exception):
                    await asyncio.wait_for(start.workflow_handle(), 0)
                raise
            return answer

        return await self._insist(running, started, give_up_s)

    async def signal(self, name: str, message: object, give_up_s: float) -> None:
        """Send a signal; the workflow is started when there is none.

        Raises:
            UnavailableError: The server did not take it in time.
        """

        async def running() -> None:
            await self._handle.signal(name, message, rpc_timeout=_RPC_TIMEOUT)

        async def started() -> None:
            await self._client.start_workflow(
                self._workflow,
                self._start,
                id=self._id,
                task_queue=self._task_queue,
                start_signal=name,
                start_signal_args=[message],
                rpc_timeout=_RPC_TIMEOUT,
            )

        await self._insist(running, started, give_up_s)

    async def query(
        self, name: str, result: type[Result], timeout_s: float, argument: object = None
    ) -> Result:
        """Ask a query, once; with an argument unless that is None.

        Raises:
            RPCError: It does not run, or was not answered in time. A busy workflow has room for one
                query, and the client asks again after ever longer pauses; these count.
        """
        try:
            async with asyncio.timeout(timeout_s):
                answer: Result = await self._handle.query(
                    name,
                    args=[] if argument is None else [argument],
                    result_type=result,
                    rpc_timeout=timedelta(seconds=timeout_s),
                )
        except TimeoutError:
            late = f"query {name} of {self._id}: no answer within {timeout_s} s"
            raise RPCError(late, RPCStatusCode.DEADLINE_EXCEEDED, b"") from None
        return answer

    @property
    def _handle(self) -> WorkflowHandle[Any, Any]:
        # Without a run id: the handle follows the workflow through continue-as-new.
        return self._client.get_workflow_handle(self._id)

    def _other_converter(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"{self._id} and this process cannot read each other ({error}): its governance workers "
            "need the data converter and the codec of the job workers; set HEADGATE_DATA_CONVERTER"
        )

    async def _insist(
        self,
        running: Callable[[], Awaitable[Result]],
        started: Callable[[], Awaitable[Result]],
        give_up_s: float,
    ) -> Result:
        deadline = time.monotonic() + give_up_s
        attempt = running
        pause_s = 0.02
        while True:
            try:
                return await attempt()
            except RPCError as error:
                if error.status not in _TRY_AGAIN:
                    raise
                last: Exception = error
                attempt = started if error.status is RPCStatusCode.NOT_FOUND else running
                if attempt is started and pause_s == 0.02:
                    pause_s = 0.0
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                last = error
            except WorkflowUpdateFailedError as error:
                cause = error.cause
                if isinstance(cause, ApplicationError) and _UNREADABLE in cause.message:
                    raise self._other_converter(cause) from error
                if not isinstance(cause, ApplicationError) or cause.type not in _LEFT_UNDONE:
                    raise
                last = error
            except (KeyError, ValueError, RuntimeError) as error:  # as converters fail
                raise self._other_converter(error) from error
            if time.monotonic() + pause_s > deadline:
                # That time is over is what the SDK says of an update without an answer.
                is_silent = isinstance(last, WorkflowUpdateRPCTimeoutOrCancelledError)
                why = "" if is_silent else f" ({last})"
                raise UnavailableError(
                    f"{self._id} did not answer within {give_up_s:g} s{why}; "
                    f"is a governance worker running on task queue {self._task_queue}?"
                ) from last
            await asyncio.sleep(pause_s)
            pause_s = min(1.0, max(0.05, pause_s * 2)) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
