"""What a governance worker is made of; needs ``headgate[server]``."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.worker import WorkerConfig, WorkerDeploymentConfig

from headgate.activities.notifications import NotificationActivities
from headgate.activities.reconcile import ReconcileActivities
from headgate.activities.snapshots import SnapshotActivities
from headgate.gate import Gate
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.notifier.notifier import Notifier
from headgate.orchestrator.answers import temporal_answers
from headgate.orchestrator.gate_runner import Gates
from headgate.orchestrator.known_names import KnownNames
from headgate.orchestrator.mistakes import shown
from headgate.orchestrator.nexus_handler import HeadgateHandler
from headgate.orchestrator.remote_activities import RemoteActivities
from headgate.orchestrator.remote_admission import RemoteAdmission
from headgate.orchestrator.search_attributes import require_registered
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.migrate import require_current
from headgate.store.workers import WorkerStore
from headgate.workflows.breaker import BreakerWorkflow
from headgate.workflows.governor import GovernorWorkflow
from headgate.workflows.ledger import LedgerWorkflow

WORKFLOWS: Final[tuple[type, ...]] = (BreakerWorkflow, LedgerWorkflow, GovernorWorkflow)
_ADDRESS: Final = "the address in HeadgatePlugin(governance=...)"


class GovernanceParts:
    """The workflows, activities and the Nexus service of governance workers, and their means.

    Nothing is connected before a worker runs, so that a replayer needs no database.

    Args:
        database: A migrated database, or its address
            (``postgresql://user:password@host:port/database``). One that is given as an address is
            closed when the last worker has stopped.
        search_attributes: Keep ``HeadgateKind`` and ``BreakerState`` up to date.
        deliver: Deliver alerts in this process; False: others do (``headgate notifier run``), and
            the secrets of the channels need not be here.

    Raises:
        ConfigurationError: The database is none, or its address not one of Postgres.
    """

    def __init__(
        self,
        database: Database | str,
        *,
        search_attributes: bool = False,
        deliver: bool = True,
    ) -> None:
        if not isinstance(database, Database | str):
            raise ConfigurationError(
                f"GovernanceParts: database is {shown(database)}: write its address, or a Database"
            )
        self._owns_database = isinstance(database, str)
        self._database = (
            Database(database, named=_ADDRESS) if isinstance(database, str) else database
        )
        self._notifier = Notifier(self._database)
        self._search_attributes = search_attributes
        self._deliver = deliver
        self._users = 0
        self._task_queue = GOVERNANCE_TASK_QUEUE
        self._options = EntityOptions()
        self._gates = Gates(self._gate_for_others)

    @property
    def workflows(self) -> Sequence[type]:
        """The workflows of governance workers."""
        return WORKFLOWS

    def contribute(self, config: WorkerConfig, options: EntityOptions) -> WorkerConfig:
        """Add all that makes a worker a governance worker.

        Args:
            config: Of the worker.
            options: How the workflows keep house that it starts for jobs without a gate.

        Raises:
            ConfigurationError: Its workflows would be pinned to its deployment version.
        """
        self._task_queue, self._options = config["task_queue"], options
        gate = self._gates.of(config["client"]).gate
        names = KnownNames(ConfigurationStore(self._database))
        admission = RemoteAdmission(gate, names, config["client"], self._task_queue, options)
        snapshots = SnapshotActivities(self._database, self._search_attributes)
        config["workflows"] = [*(config.get("workflows") or ()), *self.workflows]
        config["activities"] = [
            *(config.get("activities") or ()),
            snapshots.restore,
            snapshots.save,
            NotificationActivities(self._notifier).notify,
            ReconcileActivities().find_closed_holders,
            *RemoteActivities(admission).all(),
        ]
        config["nexus_service_handlers"] = [
            *(config.get("nexus_service_handlers") or ()),
            HeadgateHandler(admission),
        ]
        deployment = config.get("deployment_config")
        if deployment is not None and deployment.use_worker_versioning:
            config["deployment_config"] = _upgrading(deployment)
        return config

    async def check(self, client: Client) -> None:
        """Make sure that the database, the namespace and the channels of alerts are prepared.

        Raises:
            ConfigurationError: They are not; the message says what to run, or which secret of a
                channel is missing.
            UnavailableError: Postgres or Temporal does not answer.
        """
        await require_current(self._database)
        if self._deliver:
            await self._notifier.check()
        if self._search_attributes:
            await require_registered(client)

    @asynccontextmanager
    async def used(self, client: Client) -> AsyncIterator[None]:
        """Keep for the block what the activities work with; the last one to leave closes it.

        Raises:
            HeadgateError: As ``check``.
        """
        self._users += 1
        try:
            await self.check(client)
            if self._deliver:
                self._notifier.start()
            gate = self._gates.of(client).used(client)
            end_throttles = ConfigurationStore(self._database).end_overdue_throttles
            beating = WorkerStore(self._database).beating(
                lambda: temporal_answers(client), end_throttles
            )
            async with gate, beating:
                yield
        finally:
            self._users -= 1
            if self._users == 0:
                await self._notifier.close()
                if self._owns_database:
                    await self._database.close()

    def _gate_for_others(self, client: Client) -> Gate:
        return Gate(client, self._task_queue, self._options, for_others=True)


def _upgrading(deployment: WorkerDeploymentConfig) -> WorkerDeploymentConfig:
    """Let governance workflows move to every new version.

    Not declared on the workflows themselves: the server (1.32) refuses a behaviour from a worker
    that is not versioned.
    """
    default = deployment.default_versioning_behavior
    if default is VersioningBehavior.PINNED:
        raise ConfigurationError(
            "HeadgatePlugin: this governance worker pins its workflows to its deployment version; "
            "they run for ever, and so would it: set default_versioning_behavior to AUTO_UPGRADE, "
            "or leave it out"
        )
    return dataclasses.replace(
        deployment, default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
    )
