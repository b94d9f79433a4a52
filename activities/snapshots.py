"""Saving the state of governance workflows in Postgres, and giving it back."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from headgate.gate.clock import now_ms
from headgate.gate.metrics import histogram
from headgate.model.entity import RESTORE, SAVE_SNAPSHOT
from headgate.model.errors import ConfigurationError
from headgate.model.snapshot import Restored, RestoreRequest, SaveResult, Snapshot
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore
from headgate.view.metrics import SNAPSHOT_LAG


class SnapshotActivities:
    """Activities on the snapshots in one database.

    Args:
        database: Migrated.
        search_attributes: The namespace has Headgate's search attributes, and they are wanted.
    """

    def __init__(self, database: Database, search_attributes: bool = False) -> None:
        self._search_attributes = search_attributes
        self._snapshots = SnapshotStore(database)
        self._configuration = ConfigurationStore(database)

    @activity.defn(name=RESTORE)
    async def restore(self, request: RestoreRequest) -> Restored:
        """Return the last snapshot and the applied settings, under a new incarnation."""
        settings = await self._configuration.settings_of(request.kind, request.subject)
        incarnation, state = await self._snapshots.begin_incarnation(request.kind, request.subject)
        return Restored(incarnation=incarnation, state=state, settings=settings)

    @activity.defn(name=SAVE_SNAPSHOT)
    async def save(self, snapshot: Snapshot) -> SaveResult:
        """Save a snapshot unless a newer one is there, and the transitions that led to it."""
        try:
            result = await self._snapshots.save(snapshot)
        except ConfigurationError as error:
            # Trying again cannot mend it; that Postgres is out of reach, it can.
            raise ApplicationError(str(error), non_retryable=True) from error
        lag_s = max(0, now_ms() - snapshot.at_ms) / 1_000
        histogram(activity.metric_meter(), SNAPSHOT_LAG).record(lag_s, {"kind": snapshot.kind})
        return result.model_copy(update={"search_attributes": self._search_attributes})
