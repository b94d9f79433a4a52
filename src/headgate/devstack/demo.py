"""The demo: everything real, on one machine, with trouble on schedule."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import uuid4

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError

from headgate.devstack.dashboard import client_of, dashboard
from headgate.devstack.governance_options import demo_options
from headgate.devstack.http_server import serving
from headgate.devstack.jobs import TASK_QUEUE, DemoJob, Job, JobResult
from headgate.devstack.observer import Observer
from headgate.devstack.receiver import Receiver, new_secret
from headgate.devstack.replay import ReplayResult, replay_all
from headgate.devstack.scenario import Scenario
from headgate.devstack.screen import Board
from headgate.devstack.stack import Stack
from headgate.devstack.tally import Books, Jobs, summary
from headgate.devstack.workers import GOVERNANCE, JOBS, SupervisedWorker, worker_environment
from headgate.gate.kinds import KINDS
from headgate.model.breaker import BreakerView
from headgate.model.errors import HeadgateError
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView
from headgate.orchestrator.configure import Configurator
from headgate.orchestrator.headers import TENANT_MEMO
from headgate.store.audit import AuditStore
from headgate.store.database import Database
from headgate.store.migrate import migrate
from headgate.store.snapshots import SnapshotStore

T = TypeVar("T")

_SECRET_ENV: Final = "HEADGATE_WEBHOOK_SECRET"
_GRACE_S: Final = 12.0
"""How long jobs may go on after the last one was submitted."""

_HURRY_S: Final = 2.0
"""The same when somebody pressed Ctrl-C."""

_WORKER_S: Final = 30.0
"""How long the governance worker may take to start, on a busy machine."""

_ACTOR: Final = "demo"
_MOST_CHANGES: Final = 10_000
_MOST_UNDER_WAY: Final = 600
"""Jobs at a time: each is followed by a long poll, of which the server takes some 1,200."""

_CANCEL_S: Final = 8.0
_SETTLE_S: Final = 15.0
_QUERY_TIMEOUT: Final = timedelta(seconds=12)
"""Longer than Temporal waits for a worker that was killed before it asks another one."""
_AT_ONCE: Final = 16


@dataclass(slots=True)
class Demo:
    """One run of the demo.

    Args:
        stack: Running.
        scenario: What is played.
        began_s: When the command was given, by ``time.monotonic``.
        tell: Told of every event, in a line.
        board: Kept up to date.
    """

    stack: Stack
    scenario: Scenario
    began_s: float
    tell: Callable[[str], None]
    board: Board

    async def run(self, stopping: asyncio.Event, seconds: float | None) -> dict[str, Any]:
        """Play the scenario until ``stopping`` is set, ``seconds`` are over, or it ends.

        Returns:
            The figures, see ``tally.summary``; with what went wrong under ``problems``. What
            cannot be had at the end is named there, and the rest is told all the same.
        """
        problems: list[str] = []

        async def perhaps(part: str, work: Awaitable[T], otherwise: T) -> T:
            try:
                return await work
            except (HeadgateError, RPCError) as error:
                problems.append(f"{part}: {' '.join(str(error).split())}")
                return otherwise

        async with AsyncExitStack() as resources:
            receiver = Receiver(new_secret())
            webhook = await resources.enter_async_context(serving(receiver.app()))
            configuration = self.scenario.configuration(f"{webhook}/alerts", _SECRET_ENV)
            observer = Observer(configuration)
            addresses = {
                name: await resources.enter_async_context(serving(app))
                for name, app in self.scenario.apps(observer).items()
            }
            database = await resources.enter_async_context(Database(self.stack.dsn))
            await migrate(database)
            client = await client_of(self.stack)
            served = dashboard(self.stack, database)
            self.board.dashboard = await resources.enter_async_context(served)
            self.tell(f"the dashboard is at {self.board.dashboard}")
            books = _Bookkeeper(client, SnapshotStore(database))
            before = await books.read(0)
            environment = worker_environment(self.stack, **{_SECRET_ENV: receiver.secret})
            logs = self.stack.state_dir / "logs"
            await resources.enter_async_context(
                SupervisedWorker(
                    "governance worker", GOVERNANCE, environment, logs / "governance.log", self.tell
                ).running()
            )
            async with SupervisedWorker(
                "orchestrator worker", JOBS, environment, logs / "jobs.log", self.tell
            ).running():
                configurator = Configurator(
                    client, database, options=demo_options(), worker_within_s=_WORKER_S
                )
                await configurator.apply(configuration, _ACTOR, "what the demo plays")
                startup_ms = round((time.monotonic() - self.began_s) * 1000)
                self.tell(f"ready after {startup_ms / 1000:.1f} s")
                first_ms = time.time_ns() // 1_000_000
                async with self._following(books, first_ms):
                    traffic = _Traffic(client, self.board.jobs, problems)
                    played_s = time.monotonic()
                    await traffic.play(self.scenario.jobs(addresses), stopping, seconds)
                    self.tell("no more jobs are submitted; those under way may end")
                    await traffic.finish(_HURRY_S if stopping.is_set() else _GRACE_S)
                    played_s = time.monotonic() - played_s
                    await traffic.cancel(_CANCEL_S)
            # The orchestrator worker has reported its last outcomes and is gone; the governance
            # worker still runs, and what it decided has yet to reach Postgres.
            problems += await perhaps("the figures may be behind", books.caught_up(_SETTLE_S), [])
            after = await perhaps(
                "the figures are from before the end", books.read(first_ms), self.board.books
            )
            lines = await perhaps(
                "what people have changed is not known, so over_grants may be too many",
                AuditStore(database).lines(_MOST_CHANGES, since_ms=first_ms),
                [],
            )
            changes = [(line.at_ms, line.target) for line in lines if line.actor != _ACTOR]
            replay = await replay_all(client)
        figures = summary(
            self.board.jobs,
            observer,
            before,
            after,
            receiver,
            replay,
            startup_ms,
            played_s,
            changes,
        )
        problems += _problems(figures, after, replay)
        return {**figures, **({"problems": problems} if problems else {})}

    @asynccontextmanager
    async def _following(self, books: "_Bookkeeper", since_ms: int) -> AsyncIterator[None]:
        """Keep the board up to date, and tell of transitions, for the block."""

        async def follow() -> None:
            told = 0
            while True:
                try:
                    self.board.books = await books.read(since_ms)
                except HeadgateError as error:
                    self.tell(str(error))
                for downstream, step in self.board.books.transitions[told:]:
                    self.tell(f"{downstream}: {step.source} -> {step.target}: {step.reason}")
                told = len(self.board.books.transitions)
                await asyncio.sleep(0.5)

        following = asyncio.create_task(follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


class _Traffic:
    """Submits jobs and learns how they end.

    Args:
        client: Of Temporal.
        jobs: Counted here.
        problems: Told of here is how many could not be submitted.
    """

    def __init__(self, client: Client, jobs: Jobs, problems: list[str]) -> None:
        self._client = client
        self._jobs = jobs
        self._problems = problems
        self._refused: list[RPCError] = []
        self._under_way: dict[asyncio.Task[None], WorkflowHandle[DemoJob, JobResult]] = {}

    async def play(
        self, source: AsyncIterator[Job], stopping: asyncio.Event, seconds: float | None
    ) -> None:
        # At the same time, or a server that is slow to take one job would hold up the next ones.
        starting: list[asyncio.Task[None]] = []

        async def submit() -> None:
            async for job in source:
                if len(self._under_way) >= _MOST_UNDER_WAY:
                    continue  # as an intake would that looks at the backpressure
                starting[:] = [task for task in starting if not task.done() or task.exception()]
                starting.append(asyncio.create_task(self._start(job)))

        submitting = asyncio.create_task(submit())
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait(
            [submitting, stopped], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if submitting.done():
            submitting.result()
        for task in (submitting, stopped):
            task.cancel()
        await asyncio.gather(submitting, stopped, return_exceptions=True)
        await asyncio.gather(*starting)
        if self._refused:
            self._problems.append(
                f"{len(self._refused)} jobs could not be submitted, the last one: Temporal: "
                f"{self._refused[-1].message} ({self._refused[-1].status.name.lower()})"
            )

    async def finish(self, within_s: float) -> None:
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=within_s)

    async def cancel(self, within_s: float) -> None:
        """Cancel what still waits, so that it gives back what it holds."""
        handles = list(self._under_way.values())
        cancelling = asyncio.gather(*(one.cancel() for one in handles), return_exceptions=True)
        await asyncio.wait([cancelling], timeout=within_s)
        await self.finish(within_s)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _start(self, job: Job) -> None:
        id = f"job/{job.tenant}/{job.downstream}/{uuid4().hex[:12]}"
        try:
            handle = await self._client.start_workflow(
                DemoJob.run,
                job,
                id=id,
                task_queue=TASK_QUEUE,
                # Whose it is, also when it asks for nothing or has ended: for keys of one tenant.
                memo={TENANT_MEMO: job.tenant},
            )
        except RPCError as error:  # Temporal is away for a while, or has too much to do
            self._refused.append(error)
            return
        self._jobs.started += 1
        task = asyncio.create_task(self._follow(handle))
        self._under_way[task] = handle
        task.add_done_callback(lambda done: self._under_way.pop(done, None))

    async def _follow(self, handle: WorkflowHandle[DemoJob, JobResult]) -> None:
        while True:
            try:
                self._jobs.ended[await handle.result()] += 1
            except WorkflowFailureError as error:
                was_cancelled = isinstance(error.cause, CancelledError)
                self._jobs.ended["cancelled" if was_cancelled else "failed"] += 1
            except RPCError:
                await asyncio.sleep(0.1)  # the long poll was cut; ask again
                continue
            return


class _Bookkeeper:
    """Reads the figures from Postgres, and knows when they are the last ones."""

    def __init__(self, client: Client, snapshots: SnapshotStore) -> None:
        self._client = client
        self._snapshots = snapshots

    async def read(self, since_ms: int) -> Books:
        return Books(
            await self._snapshots.breakers(),
            await self._snapshots.ledgers(),
            await self._snapshots.pools(),
            await self._snapshots.transitions(since_ms),
        )

    async def caught_up(self, within_s: float) -> list[str]:
        """Wait until Postgres has the last revision of every workflow.

        Returns:
            A line for each that did not get there.
        """
        deadline = time.monotonic() + within_s
        while True:
            books = await self.read(time.time_ns())
            saved: dict[tuple[Kind, str], int] = {
                **{("breaker", view.downstream): view.revision for view in books.breakers},
                **{("ledger", view.tenant): view.revision for view in books.ledgers},
                **{("governor", view.pool): view.revision for view in books.pools},
            }
            limit = asyncio.Semaphore(_AT_ONCE)

            async def lags(
                kind: Kind, subject: str, revision: int, limit: asyncio.Semaphore = limit
            ) -> bool:
                async with limit:
                    return await self._revision(kind, subject) != revision

            keys = list(saved)
            behind = await asyncio.gather(*(lags(*key, saved[key]) for key in keys))
            late = [
                f"{kind}/{subject}"
                for (kind, subject), is_late in zip(keys, behind, strict=True)
                if is_late
            ]
            if not late:
                return []
            if time.monotonic() > deadline:
                return [f"{name} does not answer, or Postgres is behind it" for name in late]
            await asyncio.sleep(0.2)

    async def _revision(self, kind: Kind, subject: str) -> int | None:
        """Return the revision of a workflow; None: it does not answer now."""
        handle = self._client.get_workflow_handle(workflow_id(kind, subject))
        try:
            view: BreakerView | LedgerView | PoolView = await handle.query(
                "state", result_type=KINDS[kind].view, rpc_timeout=_QUERY_TIMEOUT
            )
            return view.revision
        except RPCError:
            return None


def _problems(figures: dict[str, Any], books: Books, replay: ReplayResult) -> list[str]:
    """Return what must never be, in sentences."""
    found = []
    if figures["over_grants"]:
        found.append(f"{figures['over_grants']} calls were made beyond a quota")
    for ledger in books.ledgers:
        for resource, account in ledger.accounts.items():
            resolved = account.held + account.released + account.expired + account.reclaimed
            if account.granted != resolved:
                found.append(
                    f"permits of {ledger.tenant}/{resource} do not add up: granted "
                    f"{account.granted}, accounted for {resolved}"
                )
    if replay.missing:
        found.append(f"after {replay.checked} histories no more were replayed: {replay.missing}")
    return found + [f"replay failed: {failure}" for failure in replay.failures]
