"""BreakerWorkflow: the durable circuit breaker of one downstream."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from headgate.breaker import Breaker, BreakerInput, BreakerRecord
from headgate.breaker.operator import nothing_to_resume, obey
from headgate.model.alert_rules import AlertRules
from headgate.model.breaker import (
    BreakerCommand,
    BreakerView,
    DependencyNews,
    OutcomeSpan,
    ProbeReply,
    ProbeRequest,
    Report,
    Transition,
    Verdict,
)
from headgate.model.contract import Message
from headgate.model.entity import CAPACITY_SIGNAL, NOT_FOUND, PUSH_VERDICT
from headgate.model.ids import Kind, workflow_id
from headgate.model.limits import CapacityNews
from headgate.model.settings import BreakerSettings
from headgate.model.snapshot import Restored, SaveResult, Snapshot
from headgate.workflows.details import breaker_details
from headgate.workflows.entity import Entity, now_ms, require, require_unchanged
from headgate.workflows.search_attributes import BREAKER_STATE, KIND

_RECORD = TypeAdapter(BreakerRecord)
_GROWING_SPANS = 6
_ENDS_SOMETHING = "headgate-breakers-resume-what-is-set"
_FLAPS_QUIETLY = "headgate-flaps-quietly"
_BELIEVED_MS = 60_000
_TELL_POOLS_EVERY_MS = 1_000
_GOVERNOR_AWAY_MS = 10_000
_MOST_REVISIONS = 1_000_000  # far more than a few runs can have
Decoded = TypeVar("Decoded", bound=Message)


@workflow.defn
class BreakerWorkflow(Entity):
    """Counts outcomes, opens and closes, and tells every gate."""

    kind: ClassVar[Kind] = "breaker"

    @workflow.init
    def __init__(self, start: BreakerInput) -> None:
        super().__init__(start.downstream, start.options, start.saved_revision)
        # A source of its own, so that drawing from it never disturbs another one's replay.
        self._chance = workflow.new_random("headgate.open_time").random
        self._says_no_more = workflow.patched(_FLAPS_QUIETLY)
        self._breaker = (
            None
            if start.record is None
            else Breaker(start.record, self._chance, is_quiet=self._says_no_more)
        )
        # A run that is reset in Temporal goes on from an earlier point, and draws anew from there.
        workflow.register_random_seed_callback(lambda _: self.when_ready(self._leap))
        self._searchable = False
        self._shown: tuple[str, str] | None = None

    @workflow.run
    async def run(self, start: BreakerInput) -> None:
        """Live until continued as new."""
        await self.live()

    # Messages ----------------------------------------------------------------------------------

    @workflow.signal(description="A gate reports the outcomes of calls (model.breaker.Report).")
    def report(self, *arguments: Any) -> None:
        """Count outcomes. Takes whatever is sent, so that what cannot be used is counted."""
        report = _decoded(Report, arguments)
        if report is None:
            self.when_ready(self._count_malformed)
        else:
            self.when_ready(lambda: self._breaker_now.report(report, now_ms()))

    @workflow.update(description="A gate asks for probes of a half-open breaker.")
    async def lease_probes(self, request: ProbeRequest) -> ProbeReply:
        """Lease probes: at most the policy's number, in the whole fleet."""
        if not await self.is_ready():
            return ProbeReply(granted=[], deadline_ms=None, verdict=Verdict.unknown(self.subject))
        reply = self._breaker_now.lease_probes(request, now_ms())
        self.changed()
        return reply

    @lease_probes.validator
    def _is_probe_request(self, request: ProbeRequest) -> None:
        require(ProbeRequest, request)

    @workflow.update(description="Take a new policy (headgate apply).")
    async def configure(self, settings: BreakerSettings) -> BreakerView:
        """Change the policy; window and state are kept."""
        await workflow.wait_condition(lambda: self._breaker is not None)
        self._breaker_now.configure(settings, now_ms())
        self.changed()
        return self._breaker_now.view(now_ms())

    @configure.validator
    def _is_settings(self, settings: BreakerSettings) -> None:
        require(BreakerSettings, settings)

    @workflow.update(description="An operator forces, shadows, resumes or resets the breaker.")
    async def command(self, command: BreakerCommand) -> BreakerView:
        """Do what an operator says; with dry_run, answer what it would be."""
        await workflow.wait_condition(lambda: self._breaker is not None)
        breaker = self._breaker_now
        require_unchanged(
            command.if_revision, breaker.record, command.id in breaker.record.commands
        )
        why = nothing_to_resume(breaker.record, command)
        if why is not None and workflow.patched(_ENDS_SOMETHING):
            raise ApplicationError(why, type=NOT_FOUND, non_retryable=True)
        if command.dry_run:
            trial = Breaker(_RECORD.validate_json(_RECORD.dump_json(breaker.record)))
            obey(trial, command, now_ms())
            return trial.view(now_ms())
        obey(breaker, command, now_ms())
        self.changed()
        return breaker.view(now_ms())

    @command.validator
    def _is_command(self, command: BreakerCommand) -> None:
        require(BreakerCommand, command)

    @workflow.signal(description="A dependency opened or closed (model.breaker.DependencyNews).")
    def dependency(self, *arguments: Any) -> None:
        """Take in whether a dependency is open: its failures are not counted here as well."""
        news = _decoded(DependencyNews, arguments)
        if news is None:
            self.when_ready(self._count_malformed)
        else:
            self.when_ready(lambda: self._breaker_now.hear(news))

    @workflow.signal(description="A breaker that depends on this one asks how it is.")
    def watch(self, *arguments: Any) -> None:
        """Tell a dependent (again)."""
        self.when_ready(lambda: self._forget_told(arguments))

    @workflow.signal(description="The governor of a pool that follows this downstream asks.")
    def watch_limit(self, *arguments: Any) -> None:
        """Tell a governor the fleet's limit (again)."""
        self.when_ready(lambda: self._forget_told_pools(arguments))

    @workflow.query(description="What the breaker lets pass now.")
    def verdict(self) -> Verdict:
        """Return the verdict."""
        return self._breaker.verdict() if self._breaker else Verdict.unknown(self.subject)

    @workflow.query(description="The whole state of the breaker.")
    def state(self) -> BreakerView:
        """Return the state; numbers of the window are as of the last workflow task."""
        return self._breaker_now.view(now_ms())

    def _leap(self) -> None:
        """Go above every verdict that may have been given after the point of a reset."""
        self._breaker_now.rise_above(self.record.revision + _MOST_REVISIONS)

    # The shell's side --------------------------------------------------------------------------

    @property
    def core(self) -> Breaker | None:
        """The breaker, once it has been restored."""
        return self._breaker

    @property
    def record(self) -> BreakerRecord:
        """The record of the breaker."""
        return self._breaker_now.record

    @property
    def alert_rules(self) -> AlertRules | None:
        """See base class."""
        return self.record.settings.alerts

    def restore(self, restored: Restored, now_ms: int) -> None:
        """Go on from the snapshot, with the policy that was applied since."""
        settings = (
            BreakerSettings.model_validate_json(restored.settings)
            if restored.settings is not None
            else BreakerSettings()
        )
        if restored.state is None:
            self._breaker = Breaker.begin(
                self.subject,
                settings,
                restored.incarnation,
                now_ms,
                self._chance,
                is_quiet=self._says_no_more,
            )
            return
        record = _RECORD.validate_json(restored.state)
        self._breaker = Breaker.restore(
            record, restored.incarnation, now_ms, self._chance, is_quiet=self._says_no_more
        )
        self._breaker.configure(settings, now_ms)

    def dump(self) -> tuple[str, str]:
        """See base class."""
        view = self._breaker_now.view(now_ms()).model_dump_json()
        return _RECORD.dump_json(self.record).decode(), view

    def details(self) -> str:
        """See base class."""
        return breaker_details(self._breaker_now.view(now_ms()))

    def unsaved_transitions(self) -> list[Transition]:
        """See base class."""
        return self.record.unsaved

    def unsaved_spans(self) -> list[OutcomeSpan]:
        """See base class."""
        return self.record.spans

    def saved(self, snapshot: Snapshot, result: SaveResult) -> None:
        """See base class."""
        record = self.record
        epochs = {transition.epoch for transition in snapshot.transitions}
        record.unsaved = [step for step in record.unsaved if step.epoch not in epochs]
        # The newest spans go on growing, also by late reports, and are saved again with what comes.
        done = {span.at_ms: span for span in snapshot.spans[:-_GROWING_SPANS]}
        record.spans = [span for span in record.spans if done.get(span.at_ms) != span]
        if not result.saved and result.revision > snapshot.revision:
            # Postgres knows a later state: this run was reset to an earlier point (see _save_once).
            self._breaker_now.rise_above(result.revision)
        self._searchable = result.search_attributes
        self._show_search_attributes()

    def continue_as_new(self) -> NoReturn:
        """See base class."""
        workflow.continue_as_new(
            BreakerInput(self.subject, self.record, self.saved_revision, self.options)
        )

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """See base class."""
        return (
            self._push_verdicts(),
            self._tell_dependents(),
            self._ask_dependencies(),
            self._tell_pools(),
        )

    def changed(self, *, routine: bool = False) -> None:
        """See base class."""
        super().changed(routine=routine)
        self._show_search_attributes()

    def _show_search_attributes(self) -> None:
        """Upsert them, if the namespace has them: otherwise the workflow would be stuck."""
        shown = (self.kind, self.record.effective.value)
        if self._searchable and shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes(
                [KIND.value_set(shown[0]), BREAKER_STATE.value_set(shown[1])]
            )

    async def _tell_dependents(self) -> None:
        """Tell those that depend on this downstream whenever its state changes."""
        while not self.draining:
            await workflow.wait_condition(lambda: bool(self._untold()))
            record = self.record
            news = DependencyNews(
                downstream=self.subject,
                is_open=self._breaker_now.keeps_calls_away,
                epoch=record.epoch,
            )
            for name in self._untold():
                await self._signal("breaker", name, "dependency", news)
                record.told_dependents[name] = news.epoch
            self.leave_mark()

    def _untold(self) -> list[str]:
        record = self.record
        return [
            name
            for name in record.settings.dependents
            if record.told_dependents.get(name) != record.epoch
        ]

    async def _tell_pools(self) -> None:
        """Tell the governors of pools that follow the fleet's limit whenever it changes."""
        breaker, told_ms = self._breaker_now, 0
        while not self.draining:
            await workflow.wait_condition(lambda: bool(breaker.untold_pools()))
            await self._rest(told_ms + _TELL_POOLS_EVERY_MS - now_ms(), "how the limit goes on")
            all_run = True
            for pool in breaker.untold_pools():
                limit = breaker.fleet_limit
                news = CapacityNews(
                    downstream=self.subject, limit=limit, revision=self.record.revision
                )
                if await self._signal("governor", pool, CAPACITY_SIGNAL, news):
                    self.record.told_pools[pool] = limit
                else:
                    all_run = False
            told_ms = now_ms()
            self.leave_mark()
            if not all_run:
                await self._rest(_GOVERNOR_AWAY_MS, "a governor is away")
                self.leave_mark()

    async def _rest(self, for_ms: int, summary: str) -> None:
        """Wait for a time, unless the run ends meanwhile."""
        if for_ms > 0:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self.draining,
                    timeout=timedelta(milliseconds=for_ms),
                    timeout_summary=summary,
                )

    async def _ask_dependencies(self) -> None:
        """Ask those that this one depends on how they are: once, and again while one is open.

        What it says by itself when it is well again may be lost, and would excuse failures here
        for ever. While all are well nobody asks.
        """
        asked: set[str] = set()

        def unasked() -> list[str]:
            return sorted(set(self.record.settings.depends_on) - asked)

        while not self.draining:
            await workflow.wait_condition(lambda: bool(unasked() or self.record.open_dependencies))
            if not unasked():
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: bool(unasked()),
                        timeout=timedelta(milliseconds=self._ask_again_ms()),
                        timeout_summary="is a dependency still open?",
                    )
                asked -= set(self.record.open_dependencies)
            for name in unasked():
                asked.add(name)
                if not await self._signal("breaker", name, "watch", self.subject):
                    self._breaker_now.miss(name)
                    self.changed()
            self.leave_mark()

    def _ask_again_ms(self) -> int:
        """Return how long the news that a dependency is open is believed without asking."""
        return min(max(1_000, self.record.policy.open_ms), _BELIEVED_MS)

    async def _signal(self, kind: Kind, subject: str, name: str, message: object) -> bool:
        """Signal another workflow; False: it does not run."""
        handle = workflow.get_external_workflow_handle(workflow_id(kind, subject))
        try:
            await handle.signal(name, message)
        except ApplicationError:
            return False
        return True

    async def _push_verdicts(self) -> None:
        """Tell every gate of every new verdict; a gate that does not answer holds up no other."""
        pushing: dict[str, asyncio.Task[None]] = {}
        try:
            while not self.draining:
                await workflow.wait_condition(lambda: bool(self._uninformed(pushing)))
                for gate in self._uninformed(pushing):
                    pushing[gate] = asyncio.create_task(self._push_to(gate, pushing))
        finally:
            for task in pushing.values():
                task.cancel()

    def _uninformed(self, pushing: dict[str, asyncio.Task[None]]) -> list[str]:
        record = self.record
        return [
            gate
            for gate, reporter in record.reporters.items()
            if reporter.pushed_epoch != record.epoch and gate not in pushing
        ]

    async def _push_to(self, gate: str, pushing: dict[str, asyncio.Task[None]]) -> None:
        reporter = self.record.reporters[gate]
        verdict = self._breaker_now.verdict()
        try:
            await workflow.execute_activity(
                PUSH_VERDICT,
                verdict,
                task_queue=reporter.task_queue,
                schedule_to_start_timeout=timedelta(seconds=5),
                start_to_close_timeout=timedelta(seconds=5),
                retry_policy=RetryPolicy(maximum_attempts=1),
                summary=f"tell a gate: {verdict.state}",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                return  # cut short by continue-as-new: the next run tells the gate
            # Gone, or unreachable. It asks by itself when what it knows has grown old.
            workflow.logger.info("gate %s did not take the verdict of %s", gate, self.subject)
        finally:
            del pushing[gate]
        if verdict.until_ms == self._breaker_now.verdict().until_ms:
            reporter.pushed_epoch = verdict.epoch
        self.leave_mark()

    @property
    def _breaker_now(self) -> Breaker:
        if self._breaker is None:
            raise ValueError(f"breaker {self.subject} is being restored from Postgres; ask again")
        return self._breaker

    def _forget_told(self, dependents: Sequence[Any]) -> None:
        for name in dependents:
            if isinstance(name, str):
                self.record.told_dependents.pop(name, None)

    def _forget_told_pools(self, pools: Sequence[Any]) -> None:
        for name in pools:
            if isinstance(name, str):
                self.record.told_pools.pop(name, None)

    def _count_malformed(self) -> None:
        self.record.malformed += 1
        self.record.revision += 1


def _decoded(model: type[Decoded], arguments: Sequence[Any]) -> Decoded | None:
    """Return the message of a signal, or None when it cannot be used.

    A signal handler that raises blocks the workflow, so nothing that is sent may get that far.
    """
    try:
        (message,) = arguments
        return model.model_validate(message)
    except Exception:
        return None
