"""Alerts on the real server: decided in the workflow, delivered by an activity, kept until then."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest_asyncio
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from headgate.activities.snapshots import SnapshotActivities
from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules
from headgate.model.breaker import BreakerState, BreakerView
from headgate.model.entity import (
    FIND_CLOSED,
    NOTIFY,
    SAVE_SNAPSHOT,
    ClosedHolders,
    EntityOptions,
    HolderCheck,
    Notification,
)
from headgate.model.ledger import LedgerView
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.model.snapshot import SaveResult, Snapshot
from headgate.orchestrator.governance_parts import WORKFLOWS
from headgate.orchestrator.sandbox import with_passthrough
from headgate.store.database import Database
from tests.harness import Governance, acquire, eventually, probe, soon_left

RULES = AlertRules(calm_ms=1_000, repeat_ms=None, snapshot_lag_ms=1_000, notifier_ms=1_000)
POLICY = BreakerPolicy(
    failure_rate=None, consecutive_failures=3, open_ms=100, probes=1, ramp_ms=0, open_jitter=0.0
)


class Site:
    """Governance with a Notifier that the test decides on, and a Postgres that it can take away.

    Attributes:
        arrived: Alerts that were delivered, in their order.
        attempts: What each attempt to deliver brought.
        away: Raised instead of delivering.
        saves: Whether snapshots arrive.
    """

    def __init__(
        self, client: Client, database: Database, task_queue: str, options: EntityOptions
    ) -> None:
        self.governance = Governance(client, database, task_queue, options)
        self._snapshots = SnapshotActivities(database)
        self.arrived: list[Alert] = []
        self.attempts: list[list[Alert]] = []
        self.away: Callable[[], Exception] | None = None
        self.saves = True

    @activity.defn(name=NOTIFY)
    async def notify(self, notification: Notification) -> None:
        self.attempts.append(notification.alerts)
        if self.away is not None:
            raise self.away()
        self.arrived += notification.alerts

    @activity.defn(name=SAVE_SNAPSHOT)
    async def save(self, snapshot: Snapshot) -> SaveResult:
        if not self.saves:
            raise ConnectionError("no Postgres")
        return await self._snapshots.save(snapshot)

    @activity.defn(name=FIND_CLOSED)
    async def find_closed(self, check: HolderCheck) -> ClosedHolders:
        return ClosedHolders(permits=[])

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Site"]:
        worker = Worker(
            self.governance.client,
            task_queue=self.governance.task_queue,
            workflows=[*WORKFLOWS],
            activities=[self._snapshots.restore, self.save, self.notify, self.find_closed],
            workflow_runner=with_passthrough(SandboxedWorkflowRunner()),
        )
        async with soon_left(worker):
            yield self

    async def until(self, is_right: Callable[[list[Alert]], bool]) -> list[Alert]:
        async def alerts() -> list[Alert]:
            return list(self.arrived)

        return await eventually(alerts, is_right)

    async def quota(self, tenant: str, **quota: int) -> LedgerView:
        settings = LedgerSettings(
            quotas={"scan": Quota.model_validate(quota)}, source="listed", alerts=RULES
        )
        return await self.governance.ledger(tenant).update(
            "configure", settings, uuid4().hex, LedgerView, 10
        )

    async def policy(self, downstream: str, policy: BreakerPolicy = POLICY) -> None:
        settings = BreakerSettings(policy=policy, source="listed", alerts=RULES)
        await self.governance.breaker(downstream).update(
            "configure", settings, uuid4().hex, BreakerView, 10
        )


@pytest_asyncio.fixture
async def site(
    client: Client, database: Database, task_queue: str, options: EntityOptions
) -> AsyncIterator[Site]:
    soon = options.model_copy(update={"notify_pause_ms": 10, "check_holders_every_ms": 600_000})
    async with Site(client, database, task_queue, soon).running() as running:
        yield running


async def fill(site: Site, tenant: str, first: int, last: int) -> None:
    requests = [acquire(f"{tenant}-{n}") for n in range(first, last)]
    reply = await site.governance.exchange(tenant, requests)
    assert {decision.outcome for decision in reply.decisions} == {"granted"}


async def test_levels_of_a_quota_are_told_once_and_resolved_when_it_has_been_calm(
    site: Site, name: str
) -> None:
    await site.quota(name, max_active=10)
    await fill(site, name, 0, 8)
    await fill(site, name, 8, 10)
    await site.governance.exchange(name, [], [f"{name}-9"])  # hovers about a level
    await fill(site, name, 11, 12)
    assert (await site.governance.account(name)).alerts.open.keys() == {
        f"quota.threshold/tenant/{name}/scan"
    }
    await site.governance.exchange(name, [], [f"{name}-{n}" for n in range(8)])
    # Nothing happens from here on: its own timer makes it say that it is over.
    alerts = await site.until(lambda found: len(found) >= 3)
    assert [(one.status, one.data["level"]) for one in alerts] == [
        ("firing", 80),
        ("firing", 100),
        ("resolved", 100),
    ]
    assert len({one.key for one in alerts}) == 1
    assert [one.id.split(":")[-2] for one in alerts] == ["1", "2", "3"]
    assert "It lasted" in alerts[-1].text
    assert (await site.governance.account(name)).alerts.open == {}


async def test_a_breaker_that_opened_and_recovered_has_one_key_and_is_resolved(
    site: Site, name: str
) -> None:
    await site.policy(name)
    await site.governance.report(name, 1, failures=3)
    half_open = await site.governance.until_state(name, BreakerState.HALF_OPEN)
    await site.governance.lease_probes(name, half_open.epoch, "p")
    await site.governance.report(name, 2, probes=[probe("p", half_open.epoch)])
    opened, recovered = await site.until(lambda found: len(found) >= 2)
    assert (opened.kind, opened.status) == ("breaker.opened", "firing")
    assert (recovered.kind, recovered.status) == ("breaker.recovered", "resolved")
    assert opened.key == recovered.key == f"breaker.opened/downstream/{name}"
    assert recovered.since_ms == opened.at_ms


async def test_the_configuration_says_where_alerts_are_handed_over(
    site: Site, client: Client, name: str
) -> None:
    """Also to a workflow that was started without a task queue of the Notifier."""
    heard: list[Alert] = []

    @activity.defn(name=NOTIFY)
    async def notify(notification: Notification) -> None:
        heard.extend(notification.alerts)

    await site.policy(name, POLICY.model_copy(update={"open_ms": 600_000}))
    rules = RULES.model_copy(update={"notify_task_queue": f"{name}-notifier"})
    settings = LedgerSettings(quotas={"scan": Quota(max_active=10)}, source="listed", alerts=rules)
    async with Worker(client, task_queue=f"{name}-notifier", activities=[notify]):
        await site.quota(name, max_active=10)
        await site.governance.ledger(name).update(
            "configure", settings, uuid4().hex, LedgerView, 10
        )
        await fill(site, name, 0, 8)

        async def told() -> list[Alert]:
            return list(heard)

        (level,) = await eventually(told, bool)
        assert (level.kind, site.arrived) == ("quota.threshold", [])
        # What is not told of another one goes where it runs.
        await site.governance.report(name, 1, failures=3)
        (opened,) = await site.until(lambda found: bool(found))
        assert (opened.kind, len(heard)) == ("breaker.opened", 1)


async def test_a_notifier_that_is_away_delays_no_decision_and_is_told_of_when_it_is_back(
    site: Site, name: str
) -> None:
    site.away = lambda: ConnectionError("no Notifier")
    await site.policy(name, POLICY.model_copy(update={"open_ms": 600_000}))
    await site.governance.report(name, 1, failures=3)
    await site.governance.until_state(name, BreakerState.OPEN)

    seq = 1

    async def failing() -> BreakerView:
        nonlocal seq
        seq += 1
        await site.governance.report(name, seq, successes=1)
        return await site.governance.breaker_state(name)

    view = await eventually(failing, lambda v: v.alerts.undelivered_since_ms is not None)
    assert view.state is BreakerState.OPEN
    assert site.arrived == []
    site.away = None
    opened, late = await site.until(lambda found: len(found) >= 2)
    assert (opened.kind, late.kind) == ("breaker.opened", "notifier.failing")
    assert late.title.startswith(f"downstream/{name}: no alert was delivered for ")
    assert late.since_ms == view.alerts.undelivered_since_ms
    # Every attempt brought the same.
    assert {tuple(attempt) for attempt in map(_ids, site.attempts)} == {(opened.id,), (late.id,)}
    again = await failing()
    assert again.alerts.undelivered_since_ms is None


async def test_alerts_that_the_notifier_gives_up_on_are_told_of_in_one(
    site: Site, name: str
) -> None:
    site.away = lambda: ApplicationError("never", non_retryable=True)
    await site.quota(name, max_active=10)
    await fill(site, name, 0, 8)
    await fill(site, name, 8, 10)

    async def attempts() -> int:
        return len(site.attempts)

    await eventually(attempts, lambda count: count >= 3)
    site.away = None
    (summary,) = await site.until(lambda found: bool(found))
    assert (summary.kind, summary.data["count"]) == ("alerts.collapsed", 2)
    assert summary.title == f"tenant/{name}: 2 alerts not delivered one by one"
    assert summary.text.startswith("2 quota.threshold, from ")
    assert summary.text.endswith(": the Notifier gave up on them.")
    ids = [alert.id for attempt in site.attempts for alert in attempt]
    contents = {alert.id: alert for attempt in site.attempts for alert in attempt}
    assert all(alert == contents[alert.id] for attempt in site.attempts for alert in attempt), (
        "the same id never comes with another content"
    )
    assert summary.id in ids
    assert (await site.governance.account(name)).alerts.collapsed == 2


async def test_a_snapshot_that_does_not_arrive_is_told_of_and_resolved(
    site: Site, name: str
) -> None:
    await site.policy(name)
    site.saves = False
    seq = 0

    async def told() -> list[Alert]:
        nonlocal seq
        seq += 1
        await site.governance.report(name, seq, successes=1)
        return list(site.arrived)

    (lag,) = await eventually(told, lambda found: bool(found))
    assert (lag.kind, lag.key) == ("snapshot.lag", f"snapshot.lag/downstream/{name}")
    site.saves = True
    alerts = await eventually(told, lambda found: len(found) >= 2, within_s=30)
    assert (alerts[1].key, alerts[1].status) == (lag.key, "resolved")


def _ids(alerts: list[Alert]) -> list[str]:
    return [alert.id for alert in alerts]
