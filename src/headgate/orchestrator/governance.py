"""``governance.permit()``: how a job asks before dispatch.

    async with governance.permit(tenant="acme", resource="scan", downstream="scanner"):
        await workflow.execute_activity(scan, ...)

The question is a local activity, so the answer stands in the job's own history. While the job
waits for its turn nothing runs and nothing polls: a signal of the ledger wakes it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, NamedTuple
from zlib import crc32

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.workflow import ActivityHandle

from headgate.gate import Call
from headgate.gate.metrics import histogram
from headgate.model.entity import ADMIT, GRANTED_SIGNAL, REFUSED_SIGNAL, RELEASE
from headgate.model.errors import ConfigurationError
from headgate.model.ledger import (
    Admit,
    Decision,
    Grant,
    Holder,
    Outcome,
    Release,
    require_each_once,
)
from headgate.model.reason import Reason, ReasonCode
from headgate.model.why import WHY_QUERY, AskState, JobAsk
from headgate.orchestrator.errors import PermitDenied, invalid_request
from headgate.orchestrator.mistakes import first_mistake, shown
from headgate.view.metrics import JOB_WAIT

_LOOKS_AGAIN_MS: Final = 45_000
_SPREAD_MS: Final = 15_000
"""No job that is refused for now asks less often than after these together; each after a part of
the second that is its own, as many are refused in the same moment."""

_ATTEMPT_TIMEOUT: Final = timedelta(seconds=20)
_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=2)
)


class _Patience(NamedTuple):
    """How long a job waits for its release: for each attempt, and for all together."""

    each: timedelta
    together: timedelta
    retries: RetryPolicy


_WANTED: Final = _Patience(_ATTEMPT_TIMEOUT, timedelta(seconds=60), _RETRIES)
_UNWANTED: Final = _Patience(
    # Once: a local activity that is to be tried again may go on beyond its time (SDK 1.35).
    timedelta(seconds=2),
    timedelta(seconds=4),
    RetryPolicy(maximum_attempts=1),
)
_WAIT_FOREVER: Final = timedelta(days=365)
_LONGEST_WAIT: Final = timedelta(days=36_500)
"""What is more is taken for that much: the server cannot count much further."""

GIVE_BACK: Final = "headgate_give_back"
"""The function outside of the workflow by which it gives a permit back to the gate."""

_current: ContextVar["Permit | None"] = ContextVar("headgate_permit", default=None)


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to run one job, held inside ``async with permit(...)``.

    Attributes:
        id: Of the permit, as ``headgate holders`` shows it.
        tenant: For whom.
        resource: What is counted.
        downstream: What may be called.
        call: What activities inside the block carry along, or None without a downstream.
        quiet: See ``Decision``.
        also: What else it holds.
    """

    id: str
    tenant: str
    resource: str
    downstream: str | None
    call: Call | None
    quiet: bool = False
    also: tuple[str, ...] = ()


def current_permit() -> Permit | None:
    """Return the permit of the innermost block that this code runs in."""
    return _current.get()


def permit(
    *,
    tenant: str,
    resource: str,
    downstream: str | None = None,
    units: int = 1,
    also: Mapping[str, int] | None = None,
    priority: int = 0,
    max_wait: timedelta | None = None,
) -> AbstractAsyncContextManager[Permit]:
    """Hold a permit for the block; for use in workflows.

    Asks for the tenant's quota and, with ``downstream``, whether its breaker lets calls pass. The
    outcome of every activity inside the block counts as the outcome of a call to ``downstream``;
    keep other activities outside. The permit is given back at the end of the block, however it
    ends: also on failure and on cancellation.

    Args:
        tenant: For whom the job is run.
        resource: What is counted for the tenant.
        downstream: The service that the activities in the block call.
        units: How much of the resource.
        also: What else is needed, in units by resource: all is granted together or nothing.
        priority: A higher one is served before a lower one of the same tenant and resource.
        max_wait: How long to wait for the turn, or for the breaker to let calls pass. Zero or less,
            as what is left of a deadline may be: do not wait. None: wait as long as it takes. A
            ledger that does not answer is given five seconds all the same.

    Raises:
        PermitDenied: Refused for good, or the wait would be, or was, too long.
        ConfigurationError: This worker has no ``HeadgatePlugin``; the job goes on in one that has.
        ApplicationError: ``headgate.InvalidRequest``: an argument is not valid, or the caller is no
            workflow.
    """
    if not workflow.in_workflow():
        raise _invalid(
            "only a workflow can hold a permit: ask in the workflow, around the activities that "
            "the permit is for, or govern the activity itself by @governed"
        )
    if max_wait is not None and not isinstance(max_wait, timedelta):
        raise _invalid(f"max_wait is {shown(max_wait)}: write a timedelta, or leave it out")
    return _Block(_Asking(_wanted(tenant, resource, downstream, units, also, priority), max_wait))


class _Block(AbstractAsyncContextManager[Permit]):
    """A block of code that holds a permit.

    Not a generator: the job may be evicted from the worker's cache in the middle of the block, and
    what is left of it is collected at any later time, perhaps while another workflow runs. Nothing
    may be done then, least of all in the name of that other workflow.
    """

    def __init__(self, asking: "_Asking") -> None:
        self._asking = asking
        self._held: Permit | None = None
        self._token: Token[Permit | None] | None = None

    async def __aenter__(self) -> Permit:
        self._held = await self._asking.until_granted()
        self._token = _current.set(self._held)
        return self._held

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is GeneratorExit:
            return  # collected after an eviction: the job itself goes on elsewhere
        assert self._held is not None
        assert self._token is not None
        with suppress(ValueError):  # the block may end in another task than it began in
            _current.reset(self._token)
        if self._held.quiet:
            self._asking.give_back_quietly(self._held.id)
        else:
            await self._asking.give_back(self._held.id)


class _Asking:
    """One job's way to a permit."""

    def __init__(self, wanted: Admit, max_wait: timedelta | None) -> None:
        self._wanted = wanted
        self._tenant = wanted.tenant
        self._resource = wanted.resource
        self._downstream = wanted.downstream
        self._has_deadline = max_wait is not None
        patience = _WAIT_FOREVER if max_wait is None else min(max_wait, _LONGEST_WAIT)
        self._deadline_ms = _now_ms() + max(0, int(patience / timedelta(milliseconds=1)))
        if workflow.get_dynamic_signal_handler() is not None:
            _signals()  # else it would be given what is ours
        self._asks = _asks()
        self._known = JobAsk(
            tenant=wanted.tenant,
            resource=wanted.resource,
            units=wanted.units,
            also=wanted.also,
            downstream=wanted.downstream,
            since_ms=_now_ms(),
        )

    @property
    def known(self) -> JobAsk:
        """What it waits for or holds, for ``headgate why``."""
        return self._known

    async def until_granted(self) -> Permit:
        """Ask, and wait as often as need be."""
        self._asks.append(self)
        try:
            permit = await self._insist()
        except (GeneratorExit, ConfigurationError):
            self._forget()
            raise  # collected after an eviction, see ``_Block``; or there is nobody to ask
        except BaseException as error:
            self._count_wait("denied" if isinstance(error, PermitDenied) else "given_up")
            self._forget()
            raise
        self._count_wait("granted")
        self._note(state="held", reason=None, retry_at_ms=None)
        return permit

    async def _insist(self) -> Permit:
        while True:
            # A new id for every ask: the same id would get the same answer.
            id = str(workflow.uuid4())
            try:
                decision = await self._ask(id)
            except (GeneratorExit, ConfigurationError):
                raise  # collected after an eviction, see ``_Block``; or there is nobody to ask
            except BaseException:
                # Cancelled, or out of patience: whatever was or will be granted is not wanted. The
                # ledger may be away, and the job has not the time to wait for it.
                await self.give_back(id, _UNWANTED)
                raise
            if decision.outcome is Outcome.GRANTED:
                return self._permit(decision)
            assert decision.reason is not None
            shed = decision.reason.code is ReasonCode.SHED  # as one that is refused while it waits
            if shed or decision.retry_at_ms is None or decision.retry_at_ms > self._deadline_ms:
                raise self._denied(decision.reason, decision.retry_at_ms)
            again_ms = self._asks_again_in_ms(decision.retry_at_ms, endless=decision.reason.endless)
            self._wait("asks_again", decision.reason, _now_ms() + again_ms)
            await workflow.sleep(
                timedelta(milliseconds=again_ms), summary=decision.reason.message[:180]
            )

    def _asks_again_in_ms(self, retry_at_ms: int, *, endless: bool) -> int:
        now_ms = _now_ms()
        left_ms, waited_ms = retry_at_ms - now_ms, now_ms - self._known.since_ms
        return asks_again_in_ms(workflow.info().run_id, left_ms, waited_ms, endless=endless)

    async def give_back(self, id: str, patience: _Patience = _WANTED) -> None:
        """Release the permit; never fails a job, because what is left behind is found again."""
        try:
            # Started, not executed: no coroutine is left over when the workflow is being evicted.
            await asyncio.shield(
                _start_at_gate(
                    RELEASE,
                    Release(id=id, tenant=self._tenant, downstream=self._downstream),
                    schedule_to_close_timeout=patience.together,
                    start_to_close_timeout=patience.each,
                    retry_policy=patience.retries,
                    summary=f"release {self._resource} of {self._tenant}",
                )
            )
        except ActivityError:
            self.give_back_quietly(id)  # the gate goes on trying; what is lost with it is found
        finally:
            self._forget()

    def give_back_quietly(self, id: str) -> None:
        """Release the permit by a word to the gate; what is lost on the way is found again."""
        self._forget()
        if workflow.unsafe.is_replaying():
            return
        tell = workflow.extern_functions().get(GIVE_BACK)
        if tell is not None:
            tell(Release(id=id, tenant=self._tenant, downstream=self._downstream))

    async def _ask(self, id: str) -> Decision:
        self._note(id=id, state="asking")
        decision = await self._admit(id, held=False)
        while decision.reason is not None and decision.reason.code is ReasonCode.UNAVAILABLE:
            # Nobody knows whether it was granted, so it is asked again under the same id.
            retry_at_ms = decision.retry_at_ms or _now_ms() + 1_000
            if retry_at_ms > self._deadline_ms:
                raise self._denied(decision.reason, retry_at_ms)
            again_ms = self._asks_again_in_ms(retry_at_ms, endless=True)
            self._wait("asks_again", decision.reason, _now_ms() + again_ms)
            await workflow.sleep(
                timedelta(milliseconds=again_ms), summary="governance is out of reach"
            )
            decision = await self._admit(id, held=False)
        if decision.outcome is not Outcome.WAITING:
            return decision
        assert decision.reason is not None
        self._wait("in_line", decision.reason, decision.retry_at_ms)
        await self._turn(id, decision)
        self._note(state="asking")
        if self._downstream is None:
            return Decision(id=id, outcome=Outcome.GRANTED)
        # The breaker may have opened while the job waited for its turn.
        return await self._admit(id, held=True)

    async def _admit(self, id: str, *, held: bool) -> Decision:
        wait = self._deadline_ms if self._deadline_ms > _now_ms() else None
        decision: Decision = await _start_at_gate(
            ADMIT,
            self._wanted.model_copy(update={"id": id, "wait_until_ms": wait, "held": held}),
            result_type=Decision,
            start_to_close_timeout=_ATTEMPT_TIMEOUT,
            retry_policy=_RETRIES,
            summary=f"permit for {self._resource} of {self._tenant}",
        )
        return decision

    async def _turn(self, id: str, waiting: Decision) -> None:
        """Wait for the ledger's signal."""
        assert waiting.reason is not None
        left = timedelta(milliseconds=max(1, self._deadline_ms - _now_ms()))
        signals = _signals()
        try:
            await workflow.wait_condition(
                lambda: id in signals.granted or id in signals.refused,
                timeout=left if self._has_deadline else None,
                timeout_summary=waiting.reason.message[:180],
            )
        except TimeoutError:
            reason = Reason(
                code=ReasonCode.WAITED_TOO_LONG,
                message=f"its turn did not come in time; when it asked, {waiting.reason.message}",
                resource=waiting.reason.resource,
                limit=waiting.reason.limit,
                used=waiting.reason.used,
                needed=waiting.reason.needed,
                position=waiting.reason.position,
            )
            raise self._denied(reason, waiting.retry_at_ms) from None
        refused = signals.refused.pop(id, None)
        if refused is not None and refused.reason is not None:
            raise self._denied(refused.reason, refused.retry_at_ms)
        signals.granted.discard(id)

    def _count_wait(self, decision: str) -> None:
        """Count how long it took; Temporal's meter leaves it out in a replay."""
        wait = histogram(workflow.metric_meter(), JOB_WAIT)
        waited_s = (_now_ms() - self._known.since_ms) / 1_000
        wait.record(waited_s, {"resource": self._resource, "decision": decision})

    # For ``headgate why``: only memory, so that it leaves no trace in the history.

    def _note(self, **changes: Any) -> None:
        self._known = self._known.model_copy(update=changes)

    def _wait(self, state: AskState, reason: Reason, retry_at_ms: int | None) -> None:
        self._note(state=state, reason=reason, retry_at_ms=retry_at_ms)

    def _forget(self) -> None:
        if self in self._asks:
            self._asks.remove(self)

    def _permit(self, decision: Decision) -> Permit:
        call = None
        if self._downstream is not None:
            call = Call(
                downstream=self._downstream,
                tenant=self._tenant,
                permit=decision.id,
                resource=self._resource,
                probe=decision.probe,
                probe_epoch=decision.probe_epoch,
            )
        return Permit(
            decision.id,
            self._tenant,
            self._resource,
            self._downstream,
            call,
            decision.quiet,
            tuple(self._wanted.also),
        )

    def _denied(self, reason: Reason, retry_at_ms: int | None) -> PermitDenied:
        return PermitDenied(
            reason,
            retry_at_ms,
            tenant=self._tenant,
            resource=self._resource,
            downstream=self._downstream,
        )


def _start_at_gate(name: str, message: Admit | Release, **options: Any) -> ActivityHandle[Any]:
    """Start one of the gate's local activities.

    Raises:
        ConfigurationError: This worker has none. That fails the workflow task, not the job, which
            goes on in a worker that has.
    """
    try:
        return workflow.start_local_activity(name, message, **options)
    except ValueError as error:
        if GIVE_BACK in workflow.extern_functions():
            raise
        raise ConfigurationError(
            "governance.permit(): this worker has no gate to ask, because its client has no "
            "plugin: Client.connect(..., plugins=[HeadgatePlugin()]); the job waits for a worker "
            "that has"
        ) from error


@dataclass(slots=True)
class _Signals:
    """What ledgers have told this workflow: ids that were granted, and what was refused."""

    granted: set[str] = field(default_factory=set)
    refused: dict[str, Decision] = field(default_factory=dict)


def _signals() -> _Signals:
    """Return what this workflow was told.

    Only a job that waits has the handlers: they take a job that is granted its permit at once
    longer than anything else. What comes earlier is kept for them by the SDK.
    """
    known: _Signals | None = getattr(workflow.instance(), "_headgate_signals", None)
    if known is not None:
        return known
    signals = _Signals()
    # On the workflow itself: every task of it must find the same.
    workflow.instance()._headgate_signals = signals

    def granted(grant: Grant) -> None:
        signals.granted.add(grant.id)

    def refused(decision: Decision) -> None:
        signals.refused[decision.id] = decision

    workflow.set_signal_handler(GRANTED_SIGNAL, granted)
    workflow.set_signal_handler(REFUSED_SIGNAL, refused)
    return signals


def _asks() -> list[_Asking]:
    """Return what this workflow asks for and holds; from the first time on it can be asked."""
    known: list[_Asking] | None = getattr(workflow.instance(), "_headgate_asks", None)
    if known is not None:
        return known
    asks: list[_Asking] = []
    workflow.instance()._headgate_asks = asks

    def why() -> list[JobAsk]:
        return [asking.known for asking in asks]

    if workflow.get_query_handler(WHY_QUERY) is None:  # the user's own comes first
        workflow.set_query_handler(WHY_QUERY, why)
    return asks


def _wanted(
    tenant: str,
    resource: str,
    downstream: str | None,
    units: int,
    also: Mapping[str, int] | None,
    priority: int,
) -> Admit:
    """Return what is asked for, but for the id of each time that it is asked.

    Raises:
        ApplicationError: It is not valid. Anything else would fail the workflow task, again and
            again, rather than the job.
    """
    info = workflow.info()
    try:
        wanted = Admit(
            id=info.run_id,
            holder=Holder(workflow_id=info.workflow_id, run_id=info.run_id),
            tenant=tenant,
            resource=resource,
            downstream=downstream,
            units=units,
            also=dict(also) if isinstance(also, Mapping) else also or {},
            priority=priority,
        )
        require_each_once(wanted.resource, wanted.also)
    except ValidationError as error:
        raise _invalid(first_mistake(error, Admit)) from None
    except ValueError as error:
        raise _invalid(str(error)) from None
    return wanted


def _invalid(what: str) -> ApplicationError:
    return invalid_request(f"governance.permit(): {what}")


def asks_again_in_ms(run_id: str, left_ms: int, waited_ms: int, *, endless: bool) -> int:
    """Return how long a job that is refused for now waits before it asks anew.

    Not for all of a long time, as people may end it sooner. And where nobody knows the end, the
    less often the longer it has waited: each time that it asks is six events in its history.

    Args:
        run_id: Of the job: many are refused in the same moment, and come back a little apart. (Not
            ``workflow.random()``: what it gives next may matter to the job.)
        left_ms: Until it makes sense to ask again, as far as is known.
        waited_ms: Since it asked first.
        endless: Nobody knows the end.
    """
    at_most_ms = _LOOKS_AGAIN_MS + crc32(run_id.encode()) % _SPREAD_MS
    again_ms = min(max(1, left_ms), at_most_ms)
    return max(again_ms, min(waited_ms // 4, at_most_ms)) if endless else again_ms


def _now_ms() -> int:
    return workflow.time_ns() // 1_000_000
