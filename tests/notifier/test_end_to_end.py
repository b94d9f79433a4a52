"""From the decision in a workflow, through its outbox and the activity, to the receiver."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from headgate.devstack.http_server import serving
from headgate.devstack.ports import free_port
from headgate.devstack.receiver import Receiver, new_secret
from headgate.devstack.stack import Stack
from headgate.model.alert_rules import AlertRules
from headgate.model.configuration import Configuration
from headgate.model.entity import EntityOptions
from headgate.model.ledger import Acquire, Holder
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from tests.harness import Governance, completed_tasks, eventually, reset
from tests.store.fresh_database import migrated_database

VARIABLE = "HEADGATE_TEST_SECRET"


@dataclass
class Site:
    governance: Governance
    receiver: Receiver
    port: int

    async def apply(self, **configuration: Any) -> None:
        channel = {"url": f"http://127.0.0.1:{self.port}/alerts", "secret_env": VARIABLE}
        notifier = {"channels": {"ops": channel}, "group_wait_ms": 0}
        wanted = Configuration.model_validate({"notifier": notifier, **configuration})
        store = ConfigurationStore(self.governance.database)
        await store.save(wanted, "test", "because", {})

    async def arrived(self, count: int, within_s: float = 15) -> list[dict[str, object]]:
        async def alerts() -> list[dict[str, object]]:
            return list(self.receiver.alerts.values())

        return await eventually(alerts, lambda found: len(found) >= count, within_s)


@pytest_asyncio.fixture
async def site(
    stack: Stack,
    client: Client,
    task_queue: str,
    options: EntityOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Site]:
    receiver = Receiver(new_secret())
    monkeypatch.setenv(VARIABLE, receiver.secret)
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        found = Site(Governance(client, database, task_queue, options), receiver, free_port())
        await found.apply()
        async with found.governance.running():
            yield found


def held_by_a_running_workflow(tenant: str, number: int) -> Acquire:
    """A request whose permit nobody takes for left behind."""
    holder = Holder(workflow_id=f"headgate/ledger/{tenant}")
    return Acquire(id=f"{tenant}-{number}", holder=holder, resource="scan")


async def trip(governance: Governance, downstream: str) -> None:
    await governance.set_policy(
        downstream, BreakerPolicy(consecutive_failures=3, open_ms=86_400_000)
    )
    await governance.report(downstream, 1, failures=3)


async def test_a_breaker_that_opens_is_told_once(site: Site, name: str) -> None:
    async with serving(site.receiver.app(), site.port):
        await trip(site.governance, name)
        (alert,) = await site.arrived(1)
        await site.governance.report(name, 2, failures=3)
        view = await site.governance.breaker_state(name)
        assert alert["kind"] == "breaker.opened"
        assert name in str(alert["subject"])
        assert "3" in str(alert["text"])

        async def attempts() -> list[str]:
            rows = await site.governance.database.fetch("SELECT outcome FROM alert_attempt")
            return [row["outcome"] for row in rows]

        # Written down once the answer is there, which is after the receiver has given it.
        assert await eventually(attempts, bool) == ["delivered"]
        assert (view.state, len(site.receiver.alerts)) == ("OPEN", 1)


async def test_each_level_of_a_quota_is_told_once(site: Site, name: str) -> None:
    async with serving(site.receiver.app(), site.port):
        await site.governance.set_quotas(name, scan=Quota(max_active=10))
        for count, (first, last) in enumerate([(0, 8), (8, 9), (9, 10)], start=1):
            requests = [held_by_a_running_workflow(name, n) for n in range(first, last)]
            reply = await site.governance.exchange(name, requests)
            assert {decision.outcome for decision in reply.decisions} == {"granted"}
            await site.arrived(count)
        await site.governance.exchange(name, [], [f"{name}-9"])
        await site.governance.exchange(name, [held_by_a_running_workflow(name, 11)])
        alerts = await site.arrived(3)
        assert {alert["kind"] for alert in alerts} == {"quota.threshold"}
        assert {alert["subject"] for alert in alerts} == {f"tenant/{name}/scan"}
        for level, alert in zip((80, 90, 100), alerts, strict=True):
            assert re.search(rf"\b{level} ?%", f"{alert['title']} {alert['text']}"), alert


async def test_what_a_ledger_tells_after_a_reset_is_not_taken_for_what_it_told_before(
    site: Site, name: str
) -> None:
    async with serving(site.receiver.app(), site.port):
        await site.governance.set_quotas(name, scan=Quota(max_active=10))
        ledger = site.governance.handle("ledger", name)
        point = (await completed_tasks(site.governance.client, ledger.id))[-1]
        expected: list[int] = []
        # Each time from the same point; what is told first has a number that was given before.
        for count in (8, 9, 10):
            requests = [held_by_a_running_workflow(name, n) for n in range(count)]
            reply = await site.governance.exchange(name, requests)
            assert {decision.outcome for decision in reply.decisions} == {"granted"}
            expected += range(8, count + 1)
            await site.arrived(len(expected))
            await reset(site.governance.client, ledger.id, point)
        alerts = await site.arrived(len(expected))
        assert [_data(alert)["used"] for alert in alerts] == expected
        # Numbered anew, and not given another id by Postgres: that is for whatever else happens.
        assert not any("-" in str(alert["id"]).split(":")[-2] for alert in alerts)


async def test_a_ledger_at_rest_that_is_not_saved_is_told_of(site: Site, name: str) -> None:
    async with serving(site.receiver.app(), site.port):
        database = site.governance.database
        rules = AlertRules(usage_levels=[], snapshot_lag_ms=1_000)
        quotas = {"scan": Quota(max_active=10).model_dump(mode="json")}
        await site.apply(alerts=rules, tenants={name: {"quotas": quotas}})
        await site.governance.exchange(name, [held_by_a_running_workflow(name, 1)])
        await database.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no room'; END $$"
        )
        await database.execute(
            "CREATE TRIGGER refused BEFORE UPDATE ON snapshot "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        # The last that happens to it: nobody holds anything that would have to be looked after.
        await site.governance.exchange(name, [], [f"{name}-1"])
        (lags,) = await site.arrived(1, within_s=40)
        assert (lags["kind"], lags["status"]) == ("snapshot.lag", "firing")
        await database.execute("DROP TRIGGER refused ON snapshot")
        _, over = await site.arrived(2, within_s=40)
        assert (over["key"], over["status"]) == (lags["key"], "resolved")


async def test_a_receiver_that_was_down_gets_it_when_it_is_back(site: Site, name: str) -> None:
    await trip(site.governance, name)

    async def attempts() -> int:
        found: int = await site.governance.database.fetch_value(
            "SELECT count(*) FROM alert_attempt WHERE outcome = 'unreachable'"
        )
        return found

    await eventually(attempts, lambda count: count >= 1)
    assert site.receiver.alerts == {}
    async with serving(site.receiver.app(), site.port):
        (alert,) = await site.arrived(1)
        assert alert["kind"] == "breaker.opened"

        async def is_delivered() -> bool:
            found = await site.governance.database.fetch_value(
                "SELECT bool_and(delivered_at IS NOT NULL) FROM delivery"
            )
            return bool(found)

        await eventually(is_delivered, bool)
        assert len(site.receiver.alerts) == 1


def _data(alert: dict[str, object]) -> dict[str, object]:
    data = alert["data"]
    assert isinstance(data, dict)
    return data
