"""What is lost on the way to a breaker, or by a reset of its workflow, heals by itself."""

import asyncio
from uuid import uuid4

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from headgate.model.breaker import (
    BreakerState,
    BreakerView,
    CallOutcome,
    DependencyNews,
    OutcomeBucket,
    ProbeOutcome,
    Report,
)
from headgate.model.ids import workflow_id
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from tests.harness import Governance, eventually, now_ms, reset

POLICY = BreakerPolicy(consecutive_failures=3, open_ms=1_000, probes=1, ramp_ms=0)


@workflow.defn(sandboxed=False)
class ForgetfulDependency:
    """A dependency that says it is open, and whose news that it is well again is lost."""

    def __init__(self) -> None:
        self._asked: list[str] = []

    @workflow.run
    async def run(self, name: str) -> int:
        await workflow.wait_condition(lambda: len(self._asked) == 1)
        await self._tell(name, is_open=True, epoch=1)
        # Here it closed with epoch 2, and told nobody.
        await workflow.wait_condition(lambda: len(self._asked) == 3)
        await self._tell(name, is_open=False, epoch=2)
        return len(self._asked)

    @workflow.signal
    def watch(self, dependent: str) -> None:
        self._asked.append(dependent)

    async def _tell(self, name: str, *, is_open: bool, epoch: int) -> None:
        news = DependencyNews(downstream=name, is_open=is_open, epoch=epoch)
        dependent = workflow.get_external_workflow_handle(workflow_id("breaker", self._asked[0]))
        await dependent.signal("dependency", news)


async def depend(governance: Governance, scanner: str, store: str) -> None:
    settings = BreakerSettings(policy=POLICY, source="listed", depends_on=[store])
    await governance.breaker(scanner).update("configure", settings, uuid4().hex, BreakerView, 10)


async def test_an_open_dependency_is_asked_again_so_that_lost_news_heals(
    governance: Governance, client: Client, name: str
) -> None:
    scanner, store = f"{name}-scanner", f"{name}-store"
    queue = f"forgetful-{name}"
    async with Worker(client, task_queue=queue, workflows=[ForgetfulDependency]):
        silent = await client.start_workflow(
            ForgetfulDependency.run, store, id=workflow_id("breaker", store), task_queue=queue
        )
        await depend(governance, scanner, store)
        await eventually(
            lambda: governance.breaker_state(scanner), lambda s: s.open_dependencies == [store]
        )
        await eventually(
            lambda: governance.breaker_state(scanner), lambda s: s.open_dependencies == []
        )
        assert await silent.result() == 3
    await governance.report(scanner, 1, failures=3)
    await governance.until_state(scanner, BreakerState.OPEN)


async def test_a_dependency_that_nobody_governs_excuses_nothing_for_long(
    governance: Governance, name: str
) -> None:
    await depend(governance, name, f"{name}-gone")
    await asyncio.sleep(0.5)  # so that it has asked once
    news = DependencyNews(downstream=f"{name}-gone", is_open=True, epoch=1)
    await governance.breaker(name).signal("dependency", news, 10)
    await governance.report(name, 1, failures=3)
    state = await eventually(lambda: governance.breaker_state(name), lambda s: s.excused == 3)
    assert state.state == "CLOSED"
    await eventually(lambda: governance.breaker_state(name), lambda s: s.open_dependencies == [])
    await governance.report(name, 2, failures=3)
    await governance.until_state(name, BreakerState.OPEN)


async def test_a_retry_after_that_arrives_late_lengthens_open(
    governance: Governance, name: str
) -> None:
    await governance.set_policy(name, POLICY)
    before = await governance.breaker_state(name)
    await governance.report(name, 1, failures=3)
    opened = await governance.until_state(name, BreakerState.OPEN)
    at_ms = now_ms()
    late = OutcomeBucket(
        at_ms=at_ms, epoch=before.epoch, failures=1, trailing_failures=1, retry_after_ms=60_000
    )
    report = Report(gate="g1", seq=2, task_queue="nobody-g1", buckets=[late])
    await governance.breaker(name).signal("report", report, 10)
    state = await eventually(lambda: governance.breaker_state(name), lambda s: s.failures == 4)
    assert (state.state, state.epoch, state.failures_in_window) == ("OPEN", opened.epoch, 3)
    assert state.until_ms is not None
    assert abs(state.until_ms - (at_ms + 60_000)) < 2_000
    # It is the workflow's own timer that moved.
    verdict = await governance.verdict(name)
    assert verdict.until_ms == state.until_ms


async def test_an_excused_probe_does_not_reopen(governance: Governance, name: str) -> None:
    await depend(governance, name, f"{name}-gone")
    await governance.report(name, 1, failures=3)
    half_open = await governance.until_state(name, BreakerState.HALF_OPEN)
    # On the way together with the outcome, so that it is not found out to be gone before.
    news = DependencyNews(downstream=f"{name}-gone", is_open=True, epoch=1)
    await governance.lease_probes(name, half_open.epoch, "p")
    await governance.breaker(name).signal("dependency", news, 10)
    failed = ProbeOutcome(id="p", epoch=half_open.epoch, outcome=CallOutcome.FAILURE)
    await governance.report(name, 2, probes=[failed])
    state = await eventually(lambda: governance.breaker_state(name), lambda s: s.failures == 4)
    assert (state.state, state.excused, state.probes_in_flight) == ("HALF_OPEN", 1, 0)
    assert (await governance.lease_probes(name, half_open.epoch, "q")).granted == ["q"]


async def test_verdicts_after_a_reset_are_not_taken_for_older_ones(
    governance: Governance, client: Client, name: str
) -> None:
    await governance.set_policy(name, POLICY.model_copy(update={"open_ms": 20}))
    await governance.report(name, 1, failures=3)

    # OPEN, HALF_OPEN and back, a few times: every one an epoch.
    async def probe_fails(seq: int, after: int) -> int:
        half_open = await eventually(
            lambda: governance.breaker_state(name),
            lambda s: s.state is BreakerState.HALF_OPEN and s.epoch > after,
        )
        await governance.lease_probes(name, half_open.epoch, f"p{seq}")
        failed = ProbeOutcome(id=f"p{seq}", epoch=half_open.epoch, outcome=CallOutcome.FAILURE)
        await governance.report(name, seq, probes=[failed])
        return half_open.epoch

    epoch = 0
    for seq in range(2, 5):
        epoch = await probe_fails(seq, epoch)
    highest = (await governance.verdict(name)).epoch
    await reset(client, workflow_id("breaker", name))
    # So many that what it counts overtakes what Postgres has, before its next snapshot.
    for seq in range(50, 101):
        await governance.report(name, seq, successes=1)
    lifted = (
        await eventually(lambda: governance.verdict(name), lambda verdict: verdict.epoch > highest)
    ).epoch
    # What it decides from here on is above as well, and is written down.
    await governance.report(name, 101, failures=3)
    opened = await eventually(
        lambda: governance.saved_transitions(name), lambda steps: steps[-1].epoch > lifted
    )
    assert opened[-1].target in ("OPEN", "HALF_OPEN")
