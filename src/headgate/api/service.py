"""What the routes work with."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import Request
from temporalio.client import Client

from headgate.api.feed import Feed
from headgate.api.oidc import Oidc
from headgate.api.rates import Rates
from headgate.api.settings import ApiSettings
from headgate.model.entity import EntityOptions
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.store.alerts import AlertStore
from headgate.store.audit import AuditStore
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.keys import KeyStore
from headgate.store.overview import OverviewStore
from headgate.store.pages import PageStore
from headgate.store.requests import RequestStore
from headgate.store.silences import SilenceStore
from headgate.store.snapshots import SnapshotStore

_KEYLESS_S = 2.0
"""How long it is believed that there is no key yet."""
_STRANGERS_PER_SECOND = 2.0
_STRANGERS_AT_ONCE = 20
_PUT_OFF_PER_SECOND = 1 / 60
"""How often it is written down that one caller asks too often."""


class Temporal:
    """The client, connected when it is first needed: reading does not need it.

    Args:
        connect: Connects; raises ``UnavailableError``.
    """

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> Client:
        """Return the client.

        Raises:
            UnavailableError: Temporal does not answer.
        """
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client


@dataclass
class Service:
    """The API of one process.

    Args:
        database: Migrated.
        temporal: For writes.
        settings: Where it is served.
        task_queue: Of the governance workers.
        options: How workflows that are started here keep house.
    """

    database: Database
    temporal: Temporal
    settings: ApiSettings
    task_queue: str = GOVERNANCE_TASK_QUEUE
    options: EntityOptions | None = None
    keys: KeyStore = field(init=False)
    alerts: AlertStore = field(init=False)
    audit: AuditStore = field(init=False)
    overview: OverviewStore = field(init=False)
    pages: PageStore = field(init=False)
    requests: RequestStore = field(init=False)
    silences: SilenceStore = field(init=False)
    snapshots: SnapshotStore = field(init=False)
    configuration: ConfigurationStore = field(init=False)
    oidc: Oidc | None = field(init=False)
    rates: Rates = field(init=False)
    strangers: Rates = field(init=False)
    put_off: Rates = field(init=False)
    feed: Feed = field(init=False)
    _has_key: bool = field(init=False, default=False)
    _looked_s: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        database, settings = self.database, self.settings
        self.keys = KeyStore(database)
        self.alerts = AlertStore(database)
        self.audit = AuditStore(database)
        self.overview = OverviewStore(database)
        self.pages = PageStore(database)
        self.requests = RequestStore(database)
        self.silences = SilenceStore(database)
        self.snapshots = SnapshotStore(database)
        self.configuration = ConfigurationStore(database)
        self.oidc = None if settings.oidc is None else Oidc(settings.oidc)
        self.rates = Rates(settings.per_second, settings.burst, settings.now)
        self.feed = Feed(self.pages, settings.poll_s)
        self.strangers = Rates(_STRANGERS_PER_SECOND, _STRANGERS_AT_ONCE, settings.now)
        self.put_off = Rates(_PUT_OFF_PER_SECOND, 1, settings.now)

    async def open_as(self) -> str | None:
        """Return as whom everybody is let in; None: everybody has to say who it is.

        Whoever makes the first key closes what is open, in every process, within two seconds.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        if self.settings.open_as is None:
            return None
        now_s = self.settings.now()
        if not self._has_key and now_s - self._looked_s >= _KEYLESS_S:
            self._has_key, self._looked_s = await self.keys.any(), now_s
        return None if self._has_key else self.settings.open_as


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service: Service = request.app.state.service
    return service
