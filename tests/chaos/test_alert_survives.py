"""The governance worker is killed between the decision to tell people and the delivery."""

from pathlib import Path

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.devstack.stack import Stack
from headgate.model.alert import Alert
from headgate.model.entity import NOTIFY, EntityOptions
from headgate.store.database import Database
from tests.chaos.test_killed_workers import Process
from tests.harness import Governance, apply, eventually

BREAKER = {"failure_rate": None, "consecutive_failures": 3, "open_ms": 86_400_000}


def alerts_in(file: Path) -> list[Alert]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [Alert.model_validate_json(line) for line in lines]


async def test_an_alert_outlives_the_worker_that_decided_it(
    fragile: Stack, name: str, task_queue: str, tmp_path: Path
) -> None:
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    module = ("-m", "tests.chaos.alerting_worker", task_queue, str(tmp_path))
    worker = Process("governance-alerts", fragile, *module)
    async with Database(fragile.dsn) as database, worker.running():
        await apply(database, {name: {"breaker": BREAKER}})
        governance = Governance(client, database, task_queue, EntityOptions())
        await governance.report(name, 1, failures=3)

        async def refused() -> bool:
            """Whether a delivery has failed, and the next is not under way yet."""
            description = await governance.handle("breaker", name).describe()
            return any(
                one.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
                and one.attempt > 2
                for one in description.raw_description.pending_activities
                if one.activity_type.name == NOTIFY
            )

        await eventually(refused, bool, within_s=60)
        await worker.kill()
        (tmp_path / "takes").touch()
        await worker.start()

        async def taken() -> list[Alert]:
            return alerts_in(tmp_path / "taken")

        (alert,) = await eventually(taken, lambda found: bool(found), within_s=60)
        came = alerts_in(tmp_path / "came")
        assert (alert.kind, alert.status) == ("breaker.opened", "firing")
        assert len(came) >= 2
        assert all(one == alert for one in came), "the same id and the same content"
        view = await eventually(lambda: governance.breaker_state(name), lambda v: v.gates == 1)
        assert view.alerts.open.keys() == {f"breaker.opened/downstream/{name}"}
