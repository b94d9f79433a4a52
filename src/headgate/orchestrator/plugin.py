"""``HeadgatePlugin``: all that an orchestrator adds."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from temporalio import activity
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from headgate.gate import Gate
from headgate.model.entity import ADMIT, RELEASE, EntityOptions
from headgate.model.errors import ConfigurationError
from headgate.model.ids import GOVERNANCE_TASK_QUEUE, gate_task_queue
from headgate.model.ledger import Admit, Decision, Release
from headgate.orchestrator.interceptors import HeadgateInterceptor

NAME: Final = "headgate.HeadgatePlugin"
_GATE_QUEUES: Final = gate_task_queue("")


class HeadgatePlugin(SimplePlugin):
    """Puts a gate into every worker of a client.

        client = await Client.connect(..., plugins=[HeadgatePlugin()])

    Workers of this client then answer ``governance.permit()``, and report the outcomes of the
    calls made under it. The user's converter, codec and workflow runner are kept; the default
    converter becomes the pydantic one, which reads everything that the default one wrote.

    Args:
        task_queue: Where governance workers poll.
        options: How governance workflows that this process starts keep house.
    """

    def __init__(
        self,
        *,
        task_queue: str = GOVERNANCE_TASK_QUEUE,
        options: EntityOptions | None = None,
    ) -> None:
        if not task_queue:
            raise ConfigurationError(
                "HeadgatePlugin: task_queue is empty; leave it out for the default"
            )
        self._task_queue = task_queue
        self._options = options or EntityOptions()
        self._running: _RunningGate | None = None
        self._users = 0
        self._changing = asyncio.Lock()
        self._started = asyncio.Event()
        super().__init__(
            NAME,
            data_converter=_with_pydantic,
            interceptors=[HeadgateInterceptor(self.gate)],
            workflow_runner=_with_passthrough,
        )

    async def gate(self) -> Gate:
        """Return the gate of this process; waits until a worker has started it."""
        await self._started.wait()  # a worker polls before its plugin has been entered
        assert self._running is not None
        return self._running.gate

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add the gate's local activities to a worker of job workflows."""
        config = super().configure_worker(config)
        if self._is_ours(config["task_queue"]):
            return config
        config["activities"] = [
            *(config.get("activities") or ()),
            *_GateActivities(self.gate).all(),
        ]
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the gate as long as any worker of this plugin runs."""
        if self._is_ours(worker.task_queue):
            await next(worker)
            return
        async with self._changing:
            self._users += 1
            if self._running is None:
                self._running = await _RunningGate.start(
                    Gate(worker.client, self._task_queue, self._options)
                )
                self._started.set()
        try:
            await next(worker)
        finally:
            async with self._changing:
                self._users -= 1
                if self._users == 0 and self._running is not None:
                    running, self._running = self._running, None
                    self._started.clear()
                    await running.stop()

    def _is_ours(self, task_queue: str) -> bool:
        return task_queue == self._task_queue or task_queue.startswith(_GATE_QUEUES)


class _RunningGate:
    """A gate whose context is entered and left in a task of its own.

    Workers start and stop in tasks of their own, and a context must be left in the task that
    entered it.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, gate: Gate) -> "_RunningGate":
        running = cls(gate)
        ready = asyncio.Event()

        async def run() -> None:
            async with gate.running():
                ready.set()
                await running._stopping.wait()

        running._task = asyncio.create_task(run())
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([running._task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if running._task.done():
            waiting.cancel()
            running._task.result()
        return running

    async def stop(self) -> None:
        self._stopping.set()
        assert self._task is not None
        await self._task


class _GateActivities:
    """The local activities by which workflows reach the gate of their process."""

    def __init__(self, gate: Callable[[], Awaitable[Gate]]) -> None:
        self._gate = gate

    def all(self) -> Sequence[Callable[..., Any]]:
        return (self.admit, self.release)

    @activity.defn(name=ADMIT)
    async def admit(self, request: Admit) -> Decision:
        return await (await self._gate()).admit(request)

    @activity.defn(name=RELEASE)
    async def release(self, message: Release) -> None:
        await (await self._gate()).release(message)


def _with_pydantic(existing: DataConverter | None) -> DataConverter:
    """Make the default payload converter the pydantic one; keep everything else."""
    if existing is None:
        return pydantic_data_converter
    if existing.payload_converter_class is DefaultPayloadConverter:
        return dataclasses.replace(existing, payload_converter_class=PydanticPayloadConverter)
    return existing


def _with_passthrough(existing: WorkflowRunner | None) -> WorkflowRunner:
    if existing is None:
        raise ConfigurationError("HeadgatePlugin: the worker has no workflow runner")
    if not isinstance(existing, SandboxedWorkflowRunner):
        return existing
    # The pure rooms know no clock and no chance, which import-linter holds; importing them anew
    # for every workflow would only cost time.
    restrictions = existing.restrictions.with_passthrough_modules("headgate")
    return dataclasses.replace(existing, restrictions=restrictions)
