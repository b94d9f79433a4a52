"""Governed calls: admitted in the process that makes them, without a word in the job's history."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from headgate import HeadgatePlugin, governance, governed
from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState, CallOutcome
from headgate.model.errors import ConfigurationError
from headgate.model.limits import BackpressurePolicy, SheddingPolicy, Steps
from headgate.model.policy import BreakerPolicy
from headgate.model.pool import Strategy
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.orchestrator.governed import GovernedTable
from headgate.orchestrator.governed_file import governed_table
from headgate.orchestrator.governed_here import governed_activities
from headgate.orchestrator.own_rule import Classify, OwnRule
from headgate.orchestrator.why import explain
from headgate.store.overview import OverviewStore
from tests.harness import Governance, eventually, is_conserved, now_ms, soon_left

POLICY = BreakerPolicy(failure_rate=None, consecutive_failures=3, open_ms=600_000, open_jitter=0)
NAMES: dict[str, str] = {}


@dataclass
class Task:
    calls: list[str]
    attempts: int = 0
    timeout_s: float = 30
    linger_ms: int = 0
    units: int = 1
    together: bool = False


@workflow.defn
class TaskJob:
    """Makes its calls one after the other, or at once; knows nothing of Headgate."""

    @workflow.run
    async def run(self, task: Task) -> list[str]:
        def call(name: str) -> Any:
            return workflow.execute_activity(
                name,
                task.units,
                start_to_close_timeout=timedelta(seconds=task.timeout_s),
                retry_policy=RetryPolicy(maximum_attempts=task.attempts),
                result_type=str,
            )

        if task.together:
            return list(await asyncio.gather(*(call(name) for name in task.calls)))
        results = [await call(name) for name in task.calls]
        if task.linger_ms:
            await workflow.sleep(timedelta(milliseconds=task.linger_ms))
        return results


@dataclass
class Service:
    """What the calls reach."""

    broken: bool = False
    answer: str = "fine"
    calls: int = 0
    active: int = 0
    most: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self) -> str:
        self.calls += 1
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await self.open.wait()
            if self.broken:
                raise RuntimeError("service is broken")
            return self.answer
        finally:
            self.active -= 1


class Workplace:
    """A worker whose activities are governed for one test."""

    def __init__(self, stack: Stack, governance: Governance, name: str, **options: Any) -> None:
        self.service = Service()
        self.service.open.set()
        self.downstream = f"{name}-d"
        self.task_queue = f"tasks-{uuid4().hex[:8]}"
        self._address = stack.temporal_address
        self.plugin = HeadgatePlugin(
            task_queue=governance.task_queue, options=governance.options, **options
        )
        self.client: Client

    def activities(self) -> list[Any]:
        service, downstream = self.service, self.downstream

        @activity.defn(name="bare")
        async def bare(units: int) -> str:
            return await service.call()

        @governed(downstream=downstream)
        @activity.defn(name="guarded")
        async def guarded(units: int) -> str:
            return await service.call()

        @activity.defn(name="counted")
        @governed(downstream=downstream, resource="scan", units=lambda units: units)
        async def counted(units: int) -> str:
            return await service.call()

        @governed(downstream=downstream, resource="scan", hold="job")
        @activity.defn(name="kept")
        async def kept(units: int) -> str:
            return await service.call()

        @governed(
            downstream=downstream,
            classify=lambda end: "failure" if end == "sick" else None,
        )
        @activity.defn(name="judged")
        async def judged(units: int) -> str:
            return await service.call()

        @governed(downstream=downstream, classify=lambda end: end["no such key"])
        @activity.defn(name="misjudged")
        async def misjudged(units: int) -> str:
            return await service.call()

        return [bare, guarded, counted, kept, judged, misjudged]

    @asynccontextmanager
    async def running(self, **worker: Any) -> AsyncIterator["Workplace"]:
        self.client = await Client.connect(self._address, plugins=[self.plugin])
        worker.setdefault("activities", self.activities())
        worker.setdefault("workflows", [TaskJob])
        working = Worker(self.client, task_queue=self.task_queue, **worker)
        async with soon_left(working):
            yield self

    async def start(
        self, task: Task, tenant: str | None = None, memo: dict[str, Any] | None = None
    ) -> WorkflowHandle[TaskJob, list[str]]:
        return await self.client.start_workflow(
            TaskJob.run,
            task,
            id=f"task-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(minutes=1),
            priority=Priority(fairness_key=tenant) if tenant else Priority.default,
            memo=memo,
        )

    async def run(
        self, task: Task, tenant: str | None = None, memo: dict[str, Any] | None = None
    ) -> list[str]:
        return await (await self.start(task, tenant, memo)).result()


def denial(error: WorkflowFailureError) -> ApplicationError:
    cause = error.cause
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    return cause.cause


async def test_a_governed_call_leaves_no_trace_in_the_history_and_is_counted(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=4))
    async with Workplace(stack, governance, name).running() as place:
        handle = await place.start(Task(["bare", "counted", "guarded"]), name)
        assert await handle.result() == ["fine"] * 3
        kinds = {event.event_type for event in (await handle.fetch_history()).events}
        assert EventType.EVENT_TYPE_MARKER_RECORDED not in kinds
        assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED not in kinds
    # Graceful shutdown reports outcomes and returns the block.
    view = await eventually(
        lambda: governance.account(name), lambda v: v.units_held.get("scan") == 0
    )
    assert (view.accounts["scan"].granted, view.accounts["scan"].released) == (1, 1)
    assert is_conserved(view)
    assert (await governance.holders(name)).leases == []
    state = await governance.breaker_state(place.downstream)
    assert state.successes == 2


async def test_no_more_calls_at_once_than_the_quota_and_all_are_made(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=3))
    async with Workplace(stack, governance, name).running() as place:
        task = Task(["counted"] * 12, together=True)
        assert await place.run(task, name) == ["fine"] * 12
        assert place.service.calls == 12
        assert place.service.most <= 3


async def test_an_open_breaker_keeps_calls_away_and_says_when_to_come_again(
    stack: Stack, governance: Governance, name: str
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        await governance.set_policy(place.downstream, POLICY)
        place.service.broken = True
        with pytest.raises(WorkflowFailureError):
            await place.run(Task(["guarded"], attempts=3, timeout_s=5))
        await governance.until_state(place.downstream, BreakerState.OPEN)
        calls = place.service.calls
        job = await place.start(Task(["guarded"], attempts=1, timeout_s=5))
        with pytest.raises(WorkflowFailureError) as refused:
            await job.result()
        error = denial(refused.value)
        assert error.type == "headgate.CallDenied"
        assert error.next_retry_delay is not None
        assert error.next_retry_delay > timedelta(minutes=5)
        assert "OPEN" in error.message
        assert place.service.calls == calls
        report = await explain(governance.client, governance.database, job.id)
        (by,) = report.obstacles
        assert (report.state, by.code) == ("closed", ReasonCode.BREAKER_OPEN)
        assert by.downstream == place.downstream
        assert f", refused: {by.message}" in report.verdict


async def test_whose_call_is_held_back_is_known_though_a_breaker_is_nobodys(
    stack: Stack, governance: Governance, name: str
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        soon = POLICY.model_copy(update={"open_ms": 30_000, "consecutive_failures": 1})
        await governance.set_policy(place.downstream, soon)
        place.service.broken = True
        with pytest.raises(WorkflowFailureError):
            await place.run(Task(["guarded"], attempts=1, timeout_s=5))
        await governance.until_state(place.downstream, BreakerState.OPEN)
        waiting = await place.start(Task(["guarded"], timeout_s=5), name)
        report = await eventually(
            lambda: explain(governance.client, governance.database, waiting.id),
            lambda report: bool(report.obstacles),
        )
        (obstacle,) = report.obstacles
        assert (obstacle.code, obstacle.tenant) == (ReasonCode.BREAKER_OPEN, name)
        assert (obstacle.downstream, report.tenants) == (place.downstream, [name])
        # It waits in no line of a ledger, and yet people are told.
        overview = OverviewStore(governance.database)
        status = await eventually(
            lambda: overview.status(now_ms()),
            lambda found: place.downstream in found.turned_away,
        )
        assert status.turned_away[place.downstream] == 1
        (told,) = [one.message for one in status.attention if one.name == place.downstream]
        assert told.endswith(f"; 1 call turned away in the last minute; 1 tenant hit: {name} (1)")
        await waiting.terminate("the test is over")


async def test_a_call_with_few_attempts_waits_in_the_process_for_its_turn(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    async with Workplace(stack, governance, name).running() as place:
        place.service.open.clear()
        first = await place.start(Task(["counted"]), name)
        await eventually(_returning(lambda: place.service.active), lambda n: n == 1)
        second = await place.start(Task(["counted"], attempts=1), name)
        await eventually(
            lambda: governance.holders(name),
            lambda page: any(lease.waiting for lease in page.leases),
        )
        place.service.open.set()
        assert await first.result() == ["fine"]
        assert await second.result() == ["fine"]
        assert place.service.most == 1


async def test_a_job_keeps_its_permit_between_calls_and_gives_it_back_at_its_end(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    async with Workplace(stack, governance, name).running() as place:
        lingering = await place.start(Task(["kept", "kept"], linger_ms=1_500), name)
        await eventually(_returning(lambda: place.service.calls), lambda n: n == 2)
        other = await place.start(Task(["kept"]), name)
        assert await lingering.result() == ["fine", "fine"]
        assert await other.result() == ["fine"]
        events = [e.event_type for e in (await lingering.fetch_history()).events]
        assert EventType.EVENT_TYPE_MARKER_RECORDED not in events
    view = await eventually(
        lambda: governance.account(name), lambda v: v.units_held.get("scan") == 0
    )
    assert view.accounts["scan"].granted == 2
    assert is_conserved(view)


async def test_calls_that_wait_at_a_gate_are_turned_away_under_pressure_and_told_why(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_pool(
        f"{name}-p",
        {name: Quota()},
        capacity={"scan": 1},
        strategy=Strategy.PROPORTIONAL,
        backpressure=BackpressurePolicy(
            # Later than their timeouts: else they would come again by themselves.
            queue_age_ms=Steps(),
            waiting=Steps(elevated=4),
            retry_after_ms=60_000,
        ),
        shedding=SheddingPolicy(elevated=2, saturated=2, emergency=2, min_flow=0),
    )
    async with Workplace(stack, governance, name).running() as place:
        place.service.open.clear()
        first = await place.start(Task(["kept"]), name)
        await eventually(_returning(lambda: place.service.active), lambda n: n == 1)
        jobs = [await place.start(Task(["kept"], attempts=1), name) for _ in range(6)]
        ends = [asyncio.create_task(job.result()) for job in jobs]
        await eventually(_returning(lambda: [e for e in ends if e.done()]), lambda d: len(d) == 4)
        for end in ends:
            if end.done():
                error = end.exception()
                assert isinstance(error, WorkflowFailureError)
                reason = denial(error).details[0]
                assert (reason["code"], reason["limit"]) == ("shed", 2), reason
                assert "of which 2 may while its pressure is elevated" in reason["message"]
        place.service.open.set()
        assert await first.result() == ["fine"]
        await asyncio.wait(ends)
        assert place.service.calls == 3
    view = await eventually(
        lambda: governance.account(name), lambda v: v.units_held.get("scan") == 0
    )
    assert is_conserved(view)


async def test_a_permit_of_a_job_that_ended_in_another_process_comes_back(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    calls = Workplace(stack, governance, name)
    jobs = Workplace(stack, governance, name)
    jobs.task_queue = calls.task_queue
    async with calls.running(no_remote_activities=False) as place:
        jobs.client = await Client.connect(stack.temporal_address, plugins=[jobs.plugin])
        table = {"kept": {"downstream": calls.downstream, "resource": "scan", "hold": "job"}}
        plugin = HeadgatePlugin(
            task_queue=governance.task_queue, options=governance.options, governed=table
        )
        client = await Client.connect(stack.temporal_address, plugins=[plugin])
        queue = f"flows-{uuid4().hex[:8]}"
        elsewhere = Worker(client, task_queue=queue, workflows=[RemoteJob])
        async with soon_left(elsewhere):
            for _ in range(2):
                handle = await client.start_workflow(
                    RemoteJob.run,
                    place.task_queue,
                    id=f"task-{uuid4().hex[:12]}",
                    task_queue=queue,
                    priority=Priority(fairness_key=name),
                    execution_timeout=timedelta(seconds=50),
                )
                assert await handle.result() == "fine"


@workflow.defn
class RemoteJob:
    """Its call is made by another worker."""

    @workflow.run
    async def run(self, task_queue: str) -> str:
        result: str = await workflow.execute_activity(
            "kept",
            1,
            task_queue=task_queue,
            start_to_close_timeout=timedelta(seconds=30),
            result_type=str,
        )
        return result


@workflow.defn
class PermitJob:
    """Makes its calls under a permit that says nothing of what they call."""

    @workflow.run
    async def run(self, tenant: str) -> list[str]:
        async with governance.permit(tenant=tenant, resource="page", also={"scan": 1}):
            return [
                await workflow.execute_activity(
                    "counted",
                    1,
                    start_to_close_timeout=timedelta(seconds=5),
                    retry_policy=RetryPolicy(maximum_attempts=1),
                    result_type=str,
                )
                for _ in range(2)
            ]


async def test_a_call_takes_nothing_that_the_permit_of_its_job_holds(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, page=Quota(max_active=1), scan=Quota(max_active=1))
    async with Workplace(stack, governance, name).running(workflows=[PermitJob]) as place:
        handle = await place.client.start_workflow(
            PermitJob.run,
            name,
            id=f"task-{uuid4().hex[:12]}",
            task_queue=place.task_queue,
            execution_timeout=timedelta(minutes=1),
        )
        assert await handle.result() == ["fine", "fine"]
    view = await eventually(
        lambda: governance.account(name), lambda v: v.units_held.get("scan") == 0
    )
    assert view.accounts["scan"].granted == 1


async def test_the_table_governs_what_the_code_does_not(
    stack: Stack, governance: Governance, name: str
) -> None:
    table = {"bare": {"downstream": f"{name}-d", "resource": "scan"}}
    await governance.set_quotas(name, scan=Quota(max_active=4))
    async with Workplace(stack, governance, name, governed=table).running() as place:
        assert await place.run(Task(["bare"]), name) == ["fine"]
    view = await eventually(lambda: governance.account(name), lambda v: "scan" in v.accounts)
    assert view.accounts["scan"].granted == 1


async def test_the_tenant_comes_from_the_users_function(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=4))
    place = Workplace(stack, governance, name, tenant=lambda: name)
    async with place.running():
        assert await place.run(Task(["counted"])) == ["fine"]
    view = await eventually(lambda: governance.account(name), lambda v: "scan" in v.accounts)
    assert view.accounts["scan"].granted == 1


async def test_a_tenant_that_is_no_name_fails_the_job_and_says_so(
    stack: Stack, governance: Governance, name: str
) -> None:
    place = Workplace(stack, governance, name, tenant=lambda: cast(str, 5))
    async with place.running():
        with pytest.raises(WorkflowFailureError) as failure:
            await place.run(Task(["counted"]))
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "headgate.InvalidRequest"
    assert "the function tenant returned 5: have it return a name" in cause.message


@pytest.mark.parametrize("memo", [5, ["acme"], b"acme"])
async def test_a_memo_that_is_no_name_fails_the_job_and_says_so(
    stack: Stack, governance: Governance, name: str, memo: object
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        with pytest.raises(WorkflowFailureError) as failure:
            await place.run(Task(["counted"]), memo={"headgate-tenant": memo})
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "headgate.InvalidRequest"
    assert "the memo headgate-tenant is not a string" in cause.message


async def test_without_a_tenant_and_without_a_quota_the_reason_says_what_to_do(
    stack: Stack, governance: Governance, name: str
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        with pytest.raises(WorkflowFailureError) as nobody:
            await place.run(Task(["counted"]))
        assert "nobody said for which tenant activity counted is called" in (
            denial(nobody.value).message
        )
        with pytest.raises(WorkflowFailureError) as unknown:
            await place.run(Task(["counted"]), name)
        assert f"no quota for tenant {name}" in denial(unknown.value).message
        with pytest.raises(WorkflowFailureError) as odd:
            await place.run(Task(["counted"]), "a b")
        assert "called for 'a b', which is no name of a tenant: write" in denial(odd.value).message


async def test_what_a_result_says_is_the_users_to_tell(
    stack: Stack, governance: Governance, name: str
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        await governance.set_policy(place.downstream, POLICY)
        place.service.answer = "sick"
        await place.run(Task(["judged"] * 3))
        state = await governance.until_state(place.downstream, BreakerState.OPEN)
        assert state.failures == 3


async def test_a_rule_that_fails_changes_nothing_of_how_calls_end(
    stack: Stack, governance: Governance, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        assert await place.run(Task(["misjudged"] * 3)) == ["fine"] * 3
    state = await eventually(
        lambda: governance.breaker_state(place.downstream), lambda s: s.successes == 3
    )
    assert state.failures == 0
    told = [one for one in caplog.records if "classify of calls to" in one.getMessage()]
    assert len(told) == 1


async def test_replayed_from_the_start_at_every_task(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    async with Workplace(stack, governance, name).running(max_cached_workflows=0) as place:
        for _ in range(2):
            assert await place.run(Task(["kept", "counted", "guarded"]), name) == ["fine"] * 3


def _returning(look: Any) -> Any:
    async def check() -> Any:
        return look()

    return check


# At start ---------------------------------------------------------------------------------------


def test_a_call_governed_twice_is_refused() -> None:
    @governed(downstream="scanner")
    @activity.defn
    async def scan() -> None: ...

    with pytest.raises(ConfigurationError, match="@governed stands twice at"):
        governed(downstream="other")(scan)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"downstream": "no good name"}, "downstream is 'no good name': write a name"),
        ({"downstream": "d", "units": -1}, "units is -1: write at least 1"),
        ({"downstream": "d", "units": 1.5}, "units is 1.5: write a whole number"),
        ({"downstream": "d", "units": True}, "units is True: write a whole number"),
        ({"downstream": "d", "hold": "ever"}, "hold is 'ever': write 'call' or 'job'"),
        ({"downstream": "d", "priority": 10**6}, "priority is 1000000: write at most 1000"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"@governed: {says}"):
        governed(**wrong)
    with pytest.raises(ConfigurationError, match=f"governed activity scan: {says}"):
        HeadgatePlugin(governed={"scan": wrong})


async def _later(end: object) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"classify": "success"}, "classify is 'success': write a function that returns success"),
        ({"classify": _later}, "classify is an async function: write a plain one"),
        ({"units": _later}, "units is an async function: write a plain one"),
    ],
)
def test_what_only_code_can_say_has_to_be_a_plain_function(
    wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"@governed: {says}"):
        governed(downstream="scanner", **wrong)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            {"scan": {"downstrem": "x"}},
            "governed activity scan: downstrem: there is no such key; did you mean downstream?",
        ),
        (
            {"scan": {"downstream": "x", "colour": "red"}},
            "colour: there is no such key; there is downstream, hold, priority, resource, units",
        ),
        ({"scan": {}}, "governed activity scan: downstream is missing: add it"),
        (
            {"scan": "scanner"},
            "governed activity scan is 'scanner': write how it is governed, such as "
            "{'scan': {'downstream': 'scanner'}}",
        ),
        ({1: {"downstream": "x"}}, "governed activity 1: write the type of the activity"),
        (["scan"], "governed is ['scan']: write how activities are governed by type"),
        (
            {"scan": {"downstream": "x", "resource": None, "units": 5}},
            "units is 5, but resource is null, so nothing is taken: name the resource, or leave it "
            "out for x",
        ),
        (
            {"scan": {"downstream": "x", "resource": None, "hold": "job"}},
            "hold is job, but resource is null",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_what_to_write(table: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        HeadgatePlugin(governed=table)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        ({}, None),
        ({"units": 5}, ("scanner", 5, "call")),
        ({"units": lambda size: size}, ("scanner", 1, "call")),
        ({"hold": "job"}, ("scanner", 1, "job")),
        ({"units": 5, "resource": "scan"}, ("scan", 5, "call")),
    ],
)
def test_what_takes_units_of_no_named_resource_takes_them_of_its_downstream(
    given: dict[str, Any], takes: tuple[str, int, str] | None
) -> None:
    @governed(downstream="scanner", **given)
    @activity.defn
    async def scan(size: int) -> None: ...

    call = governed_activities([scan], GovernedTable())["scan"].call
    found = None if call.resource is None else (call.resource, call.units, call.hold)
    assert found == takes
    if not callable(given.get("units")):
        assert governed_table({"scan": {"downstream": "scanner", **given}}).calls["scan"] == call


async def test_units_without_a_resource_are_counted_against_the_downstreams_own(
    stack: Stack, governance: Governance, name: str
) -> None:
    downstream = f"{name}-d"
    table = {"bare": {"downstream": downstream, "units": 2}}
    await governance.set_quotas(name, **{downstream: Quota(max_active=4)})
    async with Workplace(stack, governance, name, governed=table).running() as place:
        assert await place.run(Task(["bare"]), name) == ["fine"]
    view = await eventually(lambda: governance.account(name), lambda v: downstream in v.accounts)
    assert view.accounts[downstream].granted >= 1


def test_a_file_that_lists_downstreams_has_to_list_those_of_its_calls(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    calls = "activities: {scan: {downstream: scaner}}\n"
    for listed, known in (("{scanner: {}, attestor: }", "attestor, scanner"), ("{}", "none")):
        file.write_text(f"{calls}downstreams: {listed}\n")
        with pytest.raises(ConfigurationError) as refused:
            HeadgatePlugin(governed=file)
        assert str(refused.value) == (
            f"{file}:1: activities.scan.downstream: scaner is no downstream (there is: {known}): "
            "list it under downstreams"
        )
    for listed in ("downstreams: {'*': {}}", "downstreams: {scaner: {}}", "downstreams:", ""):
        file.write_text(f"{calls}{listed}\n")
        HeadgatePlugin(governed=file)
    file.write_text(f"{calls}downstreams: [scanner]\n")
    with pytest.raises(ConfigurationError, match=r":2: downstreams: is \['scanner'\]; write keys"):
        HeadgatePlugin(governed=file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "activities:\n  scan: {downstrem: scanner}\n",
            "2: activities.scan.downstrem: unknown key; did you mean downstream?",
        ),
        (
            "activities:\n  scan: {downstream: scanner}\n  scan: {downstream: attestor}\n",
            "3: activities.scan: written twice, first on line 2: remove one of them",
        ),
        ("activities:\n  scan: scanner\n", "2: activities.scan: is 'scanner'; write keys and"),
        ("tenants: {}\n", "1: the file: has no section activities; write which activities are"),
        ("activities:\n", "1: the file: has no section activities; write which activities are"),
        ("activities: {\n", "2: not YAML: "),
    ],
)
def test_a_file_is_read_by_the_plugin_as_by_apply(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        HeadgatePlugin(governed=str(file))
    assert f"{file}:{says}" in str(refused.value)


def test_what_of_a_file_is_not_for_workers_does_not_keep_them_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text("{activities: {scan: {downstream: scanner}}, tenants: {acme: {quota: 1}}}\n")
    assert [*governed_table(file).calls] == ["scan"]


async def test_a_file_that_lists_downstreams_holds_for_calls_that_code_governs(
    tmp_path: Path,
) -> None:
    @governed(downstream="scaner")
    @activity.defn
    async def scan() -> None: ...

    file = tmp_path / "headgate.yaml"
    file.write_text("{activities: {attest: {downstream: scanner}}, downstreams: {scanner: {}}}\n")
    plugin = HeadgatePlugin(governed=file)
    client = await Client.connect("localhost:1", lazy=True, plugins=[plugin])
    with pytest.raises(ConfigurationError, match="governed activity scan: scaner is no downstream"):
        Worker(client, task_queue="jobs", activities=[scan])


def test_a_rule_of_the_users_that_fails_leaves_it_to_the_others_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(end: object) -> str:
        raise KeyError("status")

    defects: list[tuple[Classify, str]] = [
        (fails, "classify of calls to scanner raised KeyError('status')"),
        (
            lambda end: "great",
            "classify of calls to scanner returned 'great', which is not success",
        ),
        (
            cast(Classify, lambda end: True),
            "classify of calls to scanner returned True, which is not success",
        ),
    ]
    for classify, says in defects:
        caplog.clear()
        rule = OwnRule(classify, "scanner")
        assert [rule(end) for end in ("fine", RuntimeError("broken"))] == [None, None]
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert says in record.getMessage()
    caplog.clear()
    words: list[Any] = ["success", CallOutcome.FAILURE, "ignored", None]
    assert [OwnRule(lambda end: end, "scanner")(word) for word in words] == [
        CallOutcome.SUCCESS,
        CallOutcome.FAILURE,
        CallOutcome.IGNORED,
        None,
    ]
    assert not caplog.records


async def test_a_worker_warns_of_a_name_in_its_table_that_is_nearly_one_of_its_activities(
    stack: Stack, governance: Governance, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = {"baree": {"downstream": f"{name}-d"}}
    async with Workplace(stack, governance, name, governed=table).running():
        pass
    assert "did you mean bare? That one is not governed" in caplog.text


async def test_code_and_table_may_not_both_govern(
    stack: Stack, governance: Governance, name: str
) -> None:
    table = {"guarded": {"downstream": "other"}}
    place = Workplace(stack, governance, name, governed=table)
    with pytest.raises(ConfigurationError, match="activity guarded is governed twice"):
        async with place.running():
            pass


async def test_the_tenant_becomes_temporals_fairness_key_with_its_weight(
    stack: Stack, governance: Governance, name: str
) -> None:
    place = Workplace(stack, governance, name, tenant=lambda: name, fairness={name: 2.5})
    async with place.running():
        handle = await place.start(Task(["bare"]))
        await handle.result()
        scheduled = next(
            event.activity_task_scheduled_event_attributes
            for event in (await handle.fetch_history()).events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        )
    assert (scheduled.priority.fairness_key, scheduled.priority.fairness_weight) == (name, 2.5)


async def test_headgate_why_says_why_a_governed_call_is_held_back(
    stack: Stack, governance: Governance, name: str
) -> None:
    async with Workplace(stack, governance, name).running() as place:
        policy = POLICY.model_copy(update={"open_ms": 20_000})
        await governance.set_policy(place.downstream, policy)
        await governance.report(place.downstream, 1, failures=3)
        await governance.until_state(place.downstream, BreakerState.OPEN)
        handle = await place.start(Task(["guarded"]))
        report = await eventually(
            lambda: explain(governance.client, governance.database, handle.id),
            lambda found: found.state == "waits",
        )
        assert report.obstacles[0].code is ReasonCode.BREAKER_OPEN
        assert "its call guarded was held back: breaker of" in report.obstacles[0].message
        assert report.goes_on_at_ms is not None
        await handle.terminate()
