"""A pool of ten thousand tenants: more than Temporal takes in one payload, unless it is packed."""

from uuid import uuid4

from headgate.model.pool import MOST_NAMED, PoolSettings, PoolView
from headgate.orchestrator.ask import ask_pool
from headgate.store.snapshots import SnapshotStore
from tests.harness import Governance, eventually

TENANTS = 10_000


async def test_it_is_configured_saved_asked_and_carried_on(
    governance: Governance, name: str
) -> None:
    tenants = {f"{name}-{number:05}": None for number in range(TENANTS)}
    settings = PoolSettings(capacity={"scan": 20_000}, tenants=tenants, source="listed")
    reply = await governance.governor(name).update("configure", settings, uuid4().hex, PoolView, 30)
    assert (len(reply.members), reply.left_out) == (MOST_NAMED, TENANTS - MOST_NAMED)
    try:
        saved = await eventually(
            lambda: SnapshotStore(governance.database).pool(name),
            lambda view: view is not None and len(view.members) == TENANTS,
        )
        assert saved is not None and saved.left_out == 0
        # Its first run soon has a long history, as all ledgers are asked what they hold.
        await eventually(
            lambda: governance.runs("governor", name), lambda runs: len(runs) > 1, within_s=60
        )
        whole = await eventually(
            lambda: ask_pool(governance.client, name), lambda view: len(view.unheard) < TENANTS
        )
        assert len(whole.members) == TENANTS
    finally:
        await governance.handle("governor", name).terminate("the test is over")
