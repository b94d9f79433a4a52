"""What all governance workflows share: restore, time, snapshots, alerts, continue-as-new.

A governance workflow is a pure core in a durable shell. Handlers change the core in memory and
return at once; the loops below watch it and do what it asks for: they wake it when time has
something to do, save it, deliver its alerts. None of them holds up a decision.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    RetryState,
    is_cancelled_exception,
)

from headgate.alerts.desk import Desk
from headgate.alerts.house import House
from headgate.alerts.outbox import AT_ONCE
from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules
from headgate.model.audit import AuditEntry
from headgate.model.breaker import OutcomeSpan, Transition
from headgate.model.entity import (
    CHANGED_SINCE,
    NOTIFY,
    RESTORE,
    SAVE_SNAPSHOT,
    EntityOptions,
    Notification,
    changed_since,
)
from headgate.model.ids import Kind
from headgate.model.snapshot import Restored, RestoreRequest, SaveResult, Snapshot

Sent = TypeVar("Sent", bound=BaseModel)

_ALERTS_KEPT = "headgate-alerts-kept"
_RESOLVED_KEPT = "headgate-resolved-kept"
_THOROUGH_ALERTS = "headgate-thorough-alerts"
_LONGEST_PAUSE = timedelta(hours=1)
_QUIET_SNAPSHOTS = "headgate-quiet-snapshots"
_PROMPT_SNAPSHOTS = "headgate-prompt-snapshots"
_QUIET_TIMES = 45
_LONGEST_WAIT = timedelta(seconds=10)
_FOREVER = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=_LONGEST_WAIT)
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=10)
)


class Record(Protocol):
    """What the shell needs to see of a core's record."""

    revision: int
    incarnation: int
    alerts: list[Alert]
    alerts_lost: int


class Told(Protocol):
    """What is known of what people have set."""

    revision: int
    told_revision: int


class Core(Protocol):
    """What the shell needs of a core."""

    @property
    def desk(self) -> Desk:
        """Where its alerts go out from."""

    def advance(self, now_ms: int) -> None:
        """Let time do what it does."""

    def next_deadline(self) -> int | None:
        """Return when ``advance`` next has something to do."""


class Entity(ABC):
    """Base of the governance workflows.

    Attributes:
        kind: What it governs.
        subject: Whom or what.
        options: How it keeps house.
        saved_revision: The revision that Postgres has.
        draining: The run is about to continue as new. A loop ends when it is cancelled or sees
            this: what it waits for may come at the very moment of its cancellation, which is then
            lost (``asyncio.wait_for`` of Python 3.11, operations of the SDK).
    """

    kind: ClassVar[Kind]

    def __init__(self, subject: str, options: EntityOptions, saved_revision: int) -> None:
        self.subject = subject
        self.options = options
        self.saved_revision = saved_revision
        self.draining = False
        self._is_news = True
        self._saved_at_ms = 0
        self._known_house: House | None = None
        self._waiting_for_core: list[Callable[[], bool | None]] = []
        workflow.register_random_seed_callback(self._was_reset)

    # What a governance workflow says of itself -------------------------------------------------

    @property
    @abstractmethod
    def core(self) -> Core | None:
        """The core, or None until it has been restored."""

    @property
    @abstractmethod
    def record(self) -> Record:
        """The record of the core."""

    @property
    @abstractmethod
    def alert_rules(self) -> AlertRules | None:
        """When people are told of something; None: applied before there were rules."""

    @abstractmethod
    def restore(self, restored: Restored, now_ms: int) -> None:
        """Make the core from what Postgres had."""

    @abstractmethod
    def dump(self) -> tuple[str, str]:
        """Return (state, view) in JSON."""

    @abstractmethod
    def details(self) -> str:
        """Return the state as Markdown, for the Temporal UI."""

    @abstractmethod
    def continue_as_new(self) -> NoReturn:
        """Start the next run with the record."""

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """Return what else goes on as long as the run lasts."""
        return ()

    def unsaved_transitions(self) -> list[Transition]:
        """Return the transitions that have to reach Postgres; they do not wait for the cadence."""
        return []

    def unsaved_spans(self) -> list[OutcomeSpan]:
        """Return the outcomes by time that have to reach Postgres."""
        return []

    def unsaved_audit(self) -> list[AuditEntry]:
        """Return what people did that has to reach Postgres."""
        return []

    def saved(  # noqa: B027 - most have nothing to do
        self, snapshot: Snapshot, result: SaveResult
    ) -> None:
        """Forget what Postgres has."""

    # What handlers use -------------------------------------------------------------------------

    def changed(self, *, routine: bool = False) -> None:
        """Show the new state in the Temporal UI; called at the end of whatever changes the core.

        Args:
            routine: Nothing has changed but counts, which may be seen a little later by people.
        """
        self._is_news = self._is_news or not routine
        if self.core is not None:
            self._house.look(self.alert_rules, now_ms())
            workflow.set_current_details(self.details())

    def when_ready(self, act: Callable[[], bool | None]) -> None:
        """Do ``act`` now, or as soon as the core has been restored.

        Args:
            act: Returns True when it was routine, see ``changed``.
        """
        if self.core is None:
            self._waiting_for_core.append(act)
        else:
            self.changed(routine=bool(act()))

    async def is_ready(self) -> bool:
        """Wait a little for the core to be restored; False: it takes longer, ask again."""
        if self.core is None:
            try:
                await workflow.wait_condition(
                    lambda: self.core is not None,
                    timeout=timedelta(seconds=3),
                    timeout_summary="restored from Postgres?",
                )
            except TimeoutError:
                return False
        return True

    def leave_mark(self) -> None:
        """Order something, so that this workflow task is not an empty one.

        Called when an activity has ended or a timer has fired, which may be all that a workflow
        task is about. One that orders nothing and is followed by an update is replayed together
        with the next one by a worker that has lost its cache, and apart from it in later replays
        (temporalio/sdk-rust#1146): other times, another order, a workflow that is stuck for good.
        """
        workflow.upsert_memo({"revision": self.record.revision})

    # The life of a run -------------------------------------------------------------------------

    async def live(self) -> None:
        """Restore if need be, keep house, and continue as new when the history has grown long."""
        if self.core is None:
            await self._restore()
        core = self.core
        assert core is not None
        core.desk.is_thorough = workflow.patched(_THOROUGH_ALERTS)
        self.changed()
        self.leave_mark()
        tasks = [
            asyncio.create_task(loop)
            for loop in (self._keep_time(), self._save(), self._tell(), *self.loops())
        ]
        await workflow.wait_condition(
            lambda: self._has_grown_long() or any(task.done() for task in tasks)
        )
        self.draining = True
        for task in tasks:
            if task.done():
                # A loop only ends by a defect. Raised here it fails the workflow task: visible in
                # the Temporal UI, retried, and gone with the next deployment. Nothing is lost.
                task.result()
            task.cancel()
        # What is cut short here is done again by the next run: the record says what is open.
        await asyncio.gather(*tasks, return_exceptions=True)
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.continue_as_new()

    def _has_grown_long(self) -> bool:
        info = workflow.info()
        return (
            info.get_current_history_length() >= self.options.continue_after_events
            or info.is_continue_as_new_suggested()
        )

    async def _restore(self) -> None:
        restored = await workflow.execute_activity(
            RESTORE,
            RestoreRequest(kind=self.kind, subject=self.subject),
            result_type=Restored,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=_FOREVER,
            summary=f"restore {self.kind} {self.subject}",
        )
        self.restore(restored, now_ms())
        self._house.saved(now_ms())
        for act in self._waiting_for_core:
            act()
        self._waiting_for_core.clear()

    def _was_reset(self, seed: int) -> None:
        """Give no id of an alert again that was given after the point of a reset in Temporal.

        Called outside the event loop of the workflow, where there is no time, and only in a run
        that was reset; it orders nothing, so that histories of such runs replay.
        """

        def act() -> None:
            if self.core is not None:
                self.core.desk.number_anew(seed)

        if self.core is None:
            # What it is restored from stands in the history, and is the same as it was.
            self._waiting_for_core.append(act)
        act()

    async def reach(self, deadline: Callable[[], int | None], summary: str) -> None:
        """Return once ``deadline`` is reached, however it moves meanwhile.

        One timer is kept until it fires, and replaced only when the deadline comes nearer: a
        ledger that is used all the time does not write a timer event with every message.
        """
        while True:
            if self.draining:
                raise asyncio.CancelledError
            await workflow.wait_condition(lambda: deadline() is not None)
            armed = deadline()
            if armed is None:
                continue  # another task was quicker, and has done what was due
            if armed <= now_ms():
                return

            def nearer(armed: int = armed) -> bool:
                at_ms = deadline()
                return at_ms is not None and at_ms < armed

            try:
                await workflow.wait_condition(
                    nearer,
                    timeout=timedelta(milliseconds=armed - now_ms()),
                    timeout_summary=summary,
                )
            except TimeoutError:
                self.leave_mark()

    async def _keep_time(self) -> None:
        core = self.core
        assert core is not None
        while not self.draining:
            await self.reach(core.next_deadline, "next deadline")
            core.advance(now_ms())
            deadline = core.next_deadline()
            assert deadline is None or deadline > now_ms(), "a core left undone what was due"
            self.changed()

    async def _save(self) -> None:
        while not self.draining:
            await workflow.wait_condition(lambda: self.record.revision > self.saved_revision)
            # While nothing but counts has changed, there is no hurry: a fleet at work writes next
            # to nothing into histories.
            if not self._is_news and workflow.patched(_QUIET_SNAPSHOTS) and await self._is_quiet():
                await self._save_once()
                continue
            if workflow.patched(_PROMPT_SNAPSHOTS):
                await self._is_due()
            elif not self.unsaved_transitions():
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: bool(self.unsaved_transitions()),
                        timeout=timedelta(milliseconds=self.options.snapshot_every_ms),
                        timeout_summary="next snapshot",
                    )
            await self._save_once()

    async def _is_due(self) -> None:
        """Return at once after a rest; else when an interval has passed since the last snapshot.

        What follows within the interval travels along: the other jobs of a burst. Transitions, and
        what people did, do not wait. The clock is looked at whenever anything happens, as a timer
        of the server may come a second late.
        """
        due_ms = self._saved_at_ms + self.options.snapshot_every_ms

        def is_due() -> bool:
            return bool(now_ms() >= due_ms or self.unsaved_transitions() or self.unsaved_audit())

        if not is_due():
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    is_due,
                    timeout=timedelta(milliseconds=due_ms - now_ms()),
                    timeout_summary="next snapshot",
                )

    async def _is_quiet(self) -> bool:
        """Wait for news; return whether none has come for long."""
        every_ms = self.options.counts_every_ms or self.options.snapshot_every_ms * _QUIET_TIMES
        try:
            await workflow.wait_condition(
                lambda: self._is_news,
                timeout=timedelta(milliseconds=every_ms),
                timeout_summary="next snapshot, no hurry",
            )
        except TimeoutError:
            return True
        return False

    async def _save_once(self) -> None:
        self._is_news = False
        self._saved_at_ms = now_ms()
        state, view = self.dump()
        revision = self.record.revision
        snapshot = Snapshot(
            kind=self.kind,
            subject=self.subject,
            incarnation=self.record.incarnation,
            revision=revision,
            at_ms=now_ms(),
            state=state,
            view=view,
            transitions=list(self.unsaved_transitions()),
            spans=list(self.unsaved_spans()),
            audit=list(self.unsaved_audit()),
        )
        self._house.saving(self.alert_rules, now_ms())
        try:
            result = await workflow.execute_activity(
                SAVE_SNAPSHOT,
                snapshot,
                result_type=SaveResult,
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=self._until_it_lags(),
                retry_policy=_FOREVER,
                summary=f"save {self.kind} {self.subject} revision {revision}",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise  # cut short by continue-as-new: the next run saves
            if error.retry_state is RetryState.TIMEOUT:
                # Tried all the while, and tried on: people are told though nothing else happens.
                self.changed()
                self.leave_mark()
                return
            # Only what retrying cannot mend comes here. Decisions go on; the next change tries.
            workflow.logger.error("snapshot of %s refused: %s", self.subject, error.cause)
            self.saved_revision = revision
            self.leave_mark()
            return
        self.saved_revision = revision
        self._house.saved(now_ms())
        self.saved(snapshot, result)
        if not result.saved and result.revision >= self.record.revision:
            # Postgres knows a later state: this run was reset to an earlier point. What it decides
            # from here on is the truth, so it goes above what was there.
            self.record.revision = result.revision + 1
        self.leave_mark()

    def _until_it_lags(self) -> timedelta | None:
        """Return for how long to try to save before it is worth telling; None: for ever."""
        lag_ms = None if self.alert_rules is None else self.alert_rules.snapshot_lag_ms
        # Temporal ends it as soon as the next attempt would come too late: no more than that early.
        return None if lag_ms is None else timedelta(milliseconds=lag_ms) + _LONGEST_WAIT

    async def _tell(self) -> None:
        failures = 0
        while not self.draining:
            await workflow.wait_condition(lambda: bool(self.record.alerts))
            alerts = self.record.alerts[:AT_ONCE]
            self._house.telling(self.alert_rules, now_ms())
            try:
                await workflow.execute_activity(
                    NOTIFY,
                    Notification(alerts=alerts),
                    task_queue=self._notify_task_queue(),
                    # To hand them over is short; a worker that died with them is soon noticed.
                    start_to_close_timeout=timedelta(seconds=30),
                    schedule_to_close_timeout=timedelta(days=3),
                    retry_policy=_PATIENT,
                    summary=alerts[0].title[:150],
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise  # cut short by continue-as-new: the next run delivers them
                workflow.logger.error("alerts not delivered: %s", error.cause)
                if workflow.patched(_ALERTS_KEPT):
                    failures += 1
                    self._give_up(alerts)
                    # What says so is an alert as well: not again and again without a pause.
                    await self._pause_telling(failures)
                    continue
                self.record.alerts_lost += len(alerts)
            else:
                failures = 0
                self._house.told(self.alert_rules, len(alerts), now_ms())
            told = {alert.id for alert in alerts}
            self.record.alerts = [alert for alert in self.record.alerts if alert.id not in told]
            self.changed()
            self.leave_mark()

    def _notify_task_queue(self) -> str | None:
        """Return where alerts are handed over; None: where this workflow runs."""
        rules = self.alert_rules
        said = None if rules is None else rules.notify_task_queue
        return said or self.options.notify_task_queue

    def _give_up(self, alerts: Sequence[Alert]) -> None:
        """Put one that says so in the place of alerts that could not be delivered."""
        core = self.core
        assert core is not None
        core.desk.undeliverable(
            alerts,
            "the Notifier gave up on them",
            now_ms(),
            keep_resolved=workflow.patched(_RESOLVED_KEPT),
        )
        self.changed()
        self.leave_mark()

    async def _pause_telling(self, failures: int) -> None:
        """Wait longer after each delivery that has failed for good, up to an hour."""
        pause = timedelta(milliseconds=self.options.notify_pause_ms)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self.draining,
                timeout=min(pause * 2 ** min(failures - 1, 10), _LONGEST_PAUSE),
                timeout_summary="the Notifier gave up; next try",
            )
        self.leave_mark()

    @property
    def _house(self) -> House:
        core = self.core
        assert core is not None
        if self._known_house is None:
            self._known_house = House(core.desk)
        return self._known_house


def decoded(kind: type[Sent], arguments: Sequence[Any]) -> Sent | None:
    """Return what a signal brought, or None when it cannot be used.

    Signals take whatever is sent: one whose arguments do not decode is dropped by the SDK, and a
    signal handler that raises blocks the workflow.
    """
    try:
        (message,) = arguments
        return kind.model_validate(message)
    except Exception as error:
        workflow.logger.warning("malformed %s: %s", kind.__name__, error)
        return None


def require(kind: type[object], message: object) -> None:
    """Refuse an update whose argument is null; for validators.

    A validator also refuses a call with too few or too many arguments. In the handler either
    would fail the workflow task, again and again.
    """
    if not isinstance(message, kind):
        raise ValueError(f"the argument must be of type {kind.__name__}")


def require_unchanged(if_revision: int | None, record: Told, is_repeat: bool = False) -> None:
    """Refuse what was decided by what people have changed since; not a repeat of what was done."""
    why = changed_since(if_revision, record.told_revision, record.revision)
    if why is not None and not is_repeat:
        raise ApplicationError(why, type=CHANGED_SINCE, non_retryable=True)


def now_ms() -> int:
    """Return the workflow's time, Unix milliseconds."""
    return workflow.time_ns() // 1_000_000
