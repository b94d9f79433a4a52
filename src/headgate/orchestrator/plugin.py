"""``HeadgatePlugin``: all that an orchestrator adds."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from temporalio.client import Client, ClientConfig
from temporalio.plugin import SimplePlugin
from temporalio.worker import ReplayerConfig, Worker, WorkerConfig

from headgate.gate import Gate
from headgate.gate.protocol import AnyGate
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError
from headgate.model.ids import GOVERNANCE_TASK_QUEUE, gate_task_queue
from headgate.orchestrator.converters import (
    require_carried,
    require_chosen,
    require_decoded,
    require_readable_headers,
    with_pydantic,
)
from headgate.orchestrator.gate_activities import GateActivities
from headgate.orchestrator.gate_runner import Gates
from headgate.orchestrator.governed_file import governed_table
from headgate.orchestrator.governed_here import governed_activities, tell_what_is_governed
from headgate.orchestrator.interceptors import HeadgateInterceptor
from headgate.orchestrator.mistakes import shown
from headgate.orchestrator.sandbox import with_passthrough
from headgate.orchestrator.tenants import TenantOf, TenantRules
from headgate.version import __version__

if TYPE_CHECKING:
    from headgate.orchestrator.governance_parts import GovernanceParts

_LOG = logging.getLogger("headgate.plugin")
NAME: Final = "headgate.HeadgatePlugin"
_GATE_QUEUES: Final = gate_task_queue("")
_USUAL_SLOTS: Final = 100
"""What a worker of the SDK has when nothing is said."""


class HeadgatePlugin(SimplePlugin):
    """Puts a gate into every worker of a client.

        client = await Client.connect(..., plugins=[HeadgatePlugin()])

    Workers of this client then answer ``governance.permit()``, and report the outcomes of the
    calls made under it. The user's converter, codec and workflow runner are kept; the default
    converter becomes the pydantic one, which reads everything that the default one wrote.

    With ``governance`` a worker of this client that polls the governance task queue is a
    governance worker: it runs the breakers, ledgers and governors, and answers jobs in other
    languages and namespaces.

        plugin = HeadgatePlugin(governance=os.environ["HEADGATE_DATABASE_URL"])
        client = await Client.connect(..., plugins=[plugin])
        await Worker(client, task_queue="headgate").run()

    Args:
        task_queue: Where governance workers poll.
        options: How governance workflows that this process starts keep house.
        governed: Which activities are governed, by type, where the code does not say so by
            ``@governed``: a table, or a YAML file with a section ``activities``. Where the file has
            a section ``downstreams`` without ``*``, calls to others are refused at start.
        tenant: For whom a workflow runs, when it does not say so by a permit: called in workflows
            without arguments, deterministic. Without it, or when it returns None, the memo
            ``headgate-tenant`` and the fairness key say.
        fairness: Weights by tenant: activities get their tenant as Temporal's fairness key, and
            its weight (1 when it is not listed). None: their priority is left alone.
        governance: What governance workers of this process work with, or just the address of
            their database; needs ``headgate[server]``.

    Attributes:
        version: Of Headgate.

    Raises:
        ConfigurationError: Something above cannot be used.
    """

    version: Final = __version__

    def __init__(
        self,
        *,
        task_queue: str = GOVERNANCE_TASK_QUEUE,
        options: EntityOptions | None = None,
        governed: "Mapping[str, Any] | str | Path | None" = None,
        tenant: TenantOf | None = None,
        fairness: Mapping[str, float] | None = None,
        governance: "GovernanceParts | str | None" = None,
    ) -> None:
        if not isinstance(task_queue, str) or not task_queue:
            raise ConfigurationError(
                f"HeadgatePlugin: task_queue is {shown(task_queue)}: write the name of the task "
                "queue of governance workers, or leave it out for the default"
            )
        if options is not None and not isinstance(options, EntityOptions):
            raise ConfigurationError(
                f"HeadgatePlugin: options is {shown(options)}: write EntityOptions(...), or leave "
                "it out for the defaults"
            )
        self._task_queue = task_queue
        self._options = options or EntityOptions()
        self._governed = governed_table(governed)
        self._tenants = TenantRules.checked(tenant, fairness)
        self._governance = None if governance is None else _parts(governance)
        self._gates = Gates(self._make_gate)
        super().__init__(NAME, data_converter=with_pydantic, workflow_runner=with_passthrough)

    def _make_gate(self, client: Client) -> AnyGate:
        """Make the gate of a client; ``headgate.testing`` has another."""
        return Gate(client, self._task_queue, self._options)

    # What is contributed -----------------------------------------------------------------------

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Keep the converter if it can carry Headgate's messages."""
        _require_alone("the client", config["plugins"])
        config = super().configure_client(config)
        converter = config["data_converter"]
        require_carried(converter, config["namespace"])
        require_readable_headers(converter, config["header_codec_behavior"])
        return config

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Contribute governance on its task queue; the gate and the interceptors elsewhere."""
        task_queue, client = config["task_queue"], config["client"]
        if task_queue.startswith(_GATE_QUEUES):
            return config  # the gate's own worker, which listens for verdicts
        of_worker, of_client = config["plugins"], client.config()["plugins"]
        _require_alone("the client and on its worker", [*of_client, *of_worker])
        if self in of_worker:  # then the client has not been looked at yet
            require_chosen(client.data_converter)
            require_carried(client.data_converter, client.namespace)
            headers = client.config(active_config=True)["header_codec_behavior"]
            require_readable_headers(client.data_converter, headers)
        config = super().configure_worker(config)
        if task_queue == self._task_queue:
            return self._with_governance(config)
        return self._with_gate(config)

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Make replays the same as runs; they need no server, no database and no gate."""
        interceptors = config.get("interceptors") or ()
        if any(isinstance(interceptor, HeadgateInterceptor) for interceptor in interceptors):
            raise ConfigurationError("HeadgatePlugin is given twice to the replayer; leave one out")
        config = super().configure_replayer(config)
        require_carried(config["data_converter"], config["namespace"])
        ours = HeadgateInterceptor(_no_gate, governed_activities((), self._governed), self._tenants)
        config["interceptors"] = [*interceptors, ours]
        if self._governance is not None:
            given = config["workflows"]
            missing = (kind for kind in self._governance.workflows if kind not in given)
            config["workflows"] = [*given, *missing]
        return config

    def _with_governance(self, config: WorkerConfig) -> WorkerConfig:
        if self._governance is None:
            raise ConfigurationError(
                f"HeadgatePlugin: a worker polls {self._task_queue!r}, the task queue of "
                "governance workers, but the plugin was not told their database: pass "
                "HeadgatePlugin(governance=...), run headgate worker instead, or let this worker "
                "poll another task queue"
            )
        return self._governance.contribute(config, self._options)

    def _with_gate(self, config: WorkerConfig) -> WorkerConfig:
        shared = self._gates.of(config["client"])
        gate = shared.gate
        activities = config.get("activities") or ()
        governed = governed_activities(activities, self._governed)
        tell_what_is_governed(config["task_queue"], activities, governed)
        counts_slots = _slots(config) > 0
        ours = HeadgateInterceptor(
            gate, governed, self._tenants, lambda: shared.now, counts_slots=counts_slots
        )
        config["interceptors"] = [*(config.get("interceptors") or ()), ours]
        if not config.get("workflows"):
            return config  # nobody here asks for permits
        if not activities:
            # Ours are local ones. Without this the worker would begin to poll for activities, and
            # take those that are meant for other workers of the task queue.
            config["no_remote_activities"] = True
        if config.get("max_cached_workflows") == 0:
            _LOG.warning(
                "max_cached_workflows=0: jobs that ask for a permit() in the same moment wait for "
                "each other's workflow task timeout, ten seconds each, as the SDK ends a local "
                "activity with its workflow's eviction; govern the calls (@governed) instead, or "
                "keep some workflows cached"
            )
        ours_too = GateActivities(gate, self._governed.downstreams).all()
        config["activities"] = [*activities, *ours_too]
        return config

    # While workers run -------------------------------------------------------------------------

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the gate as long as any job worker of its client runs."""
        if worker.task_queue.startswith(_GATE_QUEUES):
            await next(worker)
            return
        client = worker.config()["client"]  # the one that it was configured with
        async with AsyncExitStack() as used:
            try:
                await require_decoded(client.data_converter, client.namespace)
                if worker.task_queue == self._task_queue:
                    assert self._governance is not None
                    await used.enter_async_context(self._governance.used(client))
                else:
                    shared = self._gates.of(client)
                    await used.enter_async_context(shared.used(client))
                    if shared.now is not None and (slots := _slots(worker.config())):
                        used.enter_context(shared.now.slots.worker(slots))
            except BaseException:
                _abandon(worker)
                raise
            await next(worker)


def _slots(config: WorkerConfig) -> int:
    """Return how many activities a worker runs at a time; 0: none, or a tuner decides."""
    polls = config.get("activities") and not config.get("no_remote_activities")
    if not polls or config.get("tuner") is not None:
        return 0
    return config.get("max_concurrent_activities") or _USUAL_SLOTS


def _require_alone(where: str, plugins: Iterable[object]) -> None:
    ours = [plugin for plugin in plugins if isinstance(plugin, HeadgatePlugin)]
    if len(ours) > 1:
        raise ConfigurationError(
            f"HeadgatePlugin is given {len(ours)} times on {where}: give one to Client.connect, "
            "its workers have it from there"
        )


def _parts(given: "GovernanceParts | str") -> "GovernanceParts":
    try:
        from headgate.orchestrator.governance_parts import GovernanceParts
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"HeadgatePlugin: governance= needs the module {error.name}, which is not installed: "
            "pip install 'headgate[server]'"
        ) from error
    if isinstance(given, GovernanceParts):
        return given
    if not isinstance(given, str):
        raise ConfigurationError(
            f"HeadgatePlugin: governance is {shown(given)}: write the address of the database, or "
            "GovernanceParts(...)"
        )
    return GovernanceParts(given)


def _abandon(worker: Worker) -> None:
    """Let go those who wait for the end of a worker that has never begun.

    The SDK (1.35) marks it as ended only if the failure was its own, and ``async with worker``
    would wait for ever.
    """
    worker._shutdown_complete_event.set()


async def _no_gate() -> Any:
    raise ConfigurationError("a replay asked for the gate, which only a worker has")
