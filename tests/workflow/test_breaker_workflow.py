"""The breaker workflow on the real server: what it counts, when it moves, whom it tells."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowUpdateFailedError
from temporalio.worker import Worker

from headgate.activities.verdicts import VerdictActivities
from headgate.model.breaker import BreakerState, CallOutcome, Verdict
from headgate.model.policy import BreakerPolicy, TimeWindow
from tests.harness import Governance, eventually, probe

THREE_IN_A_ROW = BreakerPolicy(failure_rate=None, consecutive_failures=3, open_ms=60_000, ramp_ms=0)


class ListeningGate:
    """A gate that does nothing but listen on its task queue."""

    def __init__(self) -> None:
        self.id = f"gate-{uuid4().hex[:8]}"
        self.task_queue = f"verdicts-{self.id}"
        self.heard: list[Verdict] = []

    @property
    def states(self) -> list[str]:
        return [verdict.state for verdict in self.heard]

    @asynccontextmanager
    async def listening(self, governance: Governance) -> AsyncIterator[None]:
        async with Worker(
            governance.client,
            task_queue=self.task_queue,
            activities=[VerdictActivities(self.heard.append).push_verdict],
        ):
            yield


async def test_reports_trip_it_and_the_transition_says_why(
    governance: Governance, name: str
) -> None:
    await governance.set_policy(name, THREE_IN_A_ROW)
    await governance.report(name, 1, successes=10)
    await governance.report(name, 2, failures=2)
    await governance.report(name, 1, failures=1, gate="g2")
    view = await governance.until_state(name, BreakerState.OPEN)
    assert (view.successes, view.failures, view.gates) == (10, 3, 2)
    assert view.reason == "3 calls in a row failed (limit 3)"
    verdict = await governance.verdict(name)
    assert (verdict.allow, verdict.until_ms) == ("none", view.until_ms)


async def test_a_rate_of_failures_trips_it(governance: Governance, name: str) -> None:
    await governance.set_policy(name, BreakerPolicy(min_calls=10, failure_rate=0.5))
    await governance.report(name, 1, successes=5, failures=4)
    await governance.report(name, 2, failures=1)
    view = await governance.until_state(name, BreakerState.OPEN)
    assert "5 of 10 calls failed" in view.reason


async def test_a_repeated_report_counts_once(governance: Governance, name: str) -> None:
    for seq in (1, 2, 2, 1, 4, 3, 4, 3):
        await governance.report(name, seq, successes=1)
    await governance.report(name, 1, successes=1, gate="another")
    view = await eventually(lambda: governance.breaker_state(name), lambda s: s.gates == 2)
    assert view.successes == 5


async def test_an_open_breaker_goes_on_by_itself_with_nobody_calling(
    governance: Governance, name: str
) -> None:
    policy = THREE_IN_A_ROW.model_copy(
        update={"open_ms": 100, "probe_deadline_ms": 100, "half_open_max_ms": 100}
    )
    await governance.set_policy(name, policy)
    await governance.report(name, 1, failures=3)
    # From here on only Postgres is asked, so nothing but its own timers moves the workflow.
    steps = await eventually(
        lambda: governance.saved_transitions(name), lambda steps: len(steps) == 3
    )
    assert [(step.target, step.rule) for step in steps] == [
        ("OPEN", "consecutive_failures"),
        ("HALF_OPEN", "open_time"),
        ("CLOSED", "deadline"),
    ]
    assert steps[0].numbers == {"value": 3, "threshold": 3}
    assert [step.epoch for step in steps] == sorted({step.epoch for step in steps})
    saved = await eventually(
        lambda: governance.saved_breaker(name), lambda s: s is not None and s.state == "CLOSED"
    )
    assert saved == await governance.breaker_state(name)


async def test_the_whole_fleet_gets_no_more_probes_than_the_policy_says(
    governance: Governance, name: str
) -> None:
    policy = THREE_IN_A_ROW.model_copy(update={"open_ms": 50, "probes": 4})
    await governance.set_policy(name, policy)
    await governance.report(name, 1, failures=3)
    epoch = (await governance.until_state(name, BreakerState.HALF_OPEN)).epoch
    replies = await asyncio.gather(
        *(
            governance.lease_probes(name, epoch, *(f"{g}-{i}" for i in range(3)), gate=f"g{g}")
            for g in range(6)
        )
    )
    granted = [id for reply in replies for id in reply.granted]
    assert len(granted) == len(set(granted)) == 4
    again = await governance.lease_probes(name, epoch, granted[0])
    assert again.granted == [granted[0]]
    assert (await governance.lease_probes(name, epoch - 1, "late")).granted == []

    outcomes = [probe(id, epoch) for id in granted]
    stale = probe(granted[0], epoch - 1, CallOutcome.FAILURE)
    await governance.report(name, 2, probes=[stale, *outcomes[:3]])
    view = await eventually(
        lambda: governance.breaker_state(name), lambda s: s.probes_in_flight == 1
    )
    assert view.state == "HALF_OPEN"
    # A settled probe does not make room for another one, nor does its outcome count again.
    assert (await governance.lease_probes(name, epoch, "one-more")).granted == []
    await governance.report(name, 3, probes=[outcomes[0], outcomes[3]])
    view = await governance.until_state(name, BreakerState.CLOSED)
    assert view.reason == "4 of 4 probes succeeded"


async def test_a_probe_that_never_comes_back_opens_it_again_by_its_deadline(
    governance: Governance, name: str
) -> None:
    policy = THREE_IN_A_ROW.model_copy(
        update={"open_ms": 50, "probes": 2, "probe_deadline_ms": 100}
    )
    await governance.set_policy(name, policy)
    await governance.report(name, 1, failures=3)
    half_open = await governance.until_state(name, BreakerState.HALF_OPEN)
    reply = await governance.lease_probes(name, half_open.epoch, "lost", "fine")
    assert reply.granted == ["lost", "fine"]
    await governance.report(name, 2, probes=[probe("fine", half_open.epoch)])
    steps = await eventually(
        lambda: governance.saved_transitions(name), lambda steps: len(steps) >= 3
    )
    assert (steps[2].source, steps[2].target) == ("HALF_OPEN", "OPEN")
    assert steps[2].numbers == {"succeeded": 1, "failed": 1, "needed": 2}
    assert reply.deadline_ms is not None
    assert steps[2].at_ms >= reply.deadline_ms


@pytest.mark.parametrize(
    "arguments",
    [
        [{"gate": 5, "seq": "many"}],
        ["what?"],
        [None],
        [b"\x00\x01"],
        [[1, 2, 3]],
        [],
        [{"gate": "g", "seq": 1, "task_queue": "q"}, "one too many"],
    ],
    ids=["wrong fields", "text", "null", "bytes", "list", "nothing", "two"],
)
async def test_a_malformed_report_is_counted_and_changes_nothing_else(
    governance: Governance, name: str, arguments: list[object]
) -> None:
    await governance.set_policy(name, THREE_IN_A_ROW)
    await governance.report(name, 1, successes=1)
    handle = governance.handle("breaker", name)
    await handle.signal("report", args=arguments)
    await governance.report(name, 2, successes=1)
    view = await eventually(lambda: governance.breaker_state(name), lambda s: s.successes == 2)
    assert (view.malformed, view.gates, view.state) == (1, 1, "CLOSED")


@pytest.mark.parametrize(
    "arguments",
    [[{"policy": 5, "gate": 5}], [None], [], [{}, {}]],
    ids=["wrong fields", "null", "nothing", "two"],
)
async def test_a_malformed_update_is_refused_and_changes_nothing(
    governance: Governance, name: str, arguments: list[object]
) -> None:
    await governance.set_policy(name, THREE_IN_A_ROW)
    before = await governance.breaker_state(name)
    for update in ("configure", "lease_probes", "command"):
        with pytest.raises(WorkflowUpdateFailedError):
            await governance.handle("breaker", name).execute_update(update, args=arguments)
    assert await governance.breaker_state(name) == before


async def test_every_gate_is_told_of_every_verdict_also_a_late_one(
    governance: Governance, name: str
) -> None:
    await governance.set_policy(name, THREE_IN_A_ROW)
    early, late = ListeningGate(), ListeningGate()
    async with early.listening(governance), late.listening(governance):
        # A gate that is gone, and first in line, holds up nobody.
        await governance.report(name, 1, gate="a-gate-that-has-died")
        await governance.report(name, 1, gate=early.id, task_queue=early.task_queue)
        await governance.report(name, 2, failures=3, gate=early.id, task_queue=early.task_queue)
        await eventually(_now(early), lambda states: states[-1:] == ["OPEN"])
        assert early.heard[-1] == await governance.verdict(name)
        await governance.report(name, 1, gate=late.id, task_queue=late.task_queue)
        await eventually(_now(late), lambda states: states == ["OPEN"])
        assert early.states.count("OPEN") == 1  # once of each verdict, as long as it answers


def _now(gate: ListeningGate) -> Callable[[], Awaitable[list[str]]]:
    async def states() -> list[str]:
        return gate.states

    return states


async def test_a_new_policy_judges_what_is_already_in_the_window(
    governance: Governance, name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy(min_calls=20, failure_rate=0.9))
    await governance.report(name, 1, successes=8, failures=12)
    await eventually(lambda: governance.breaker_state(name), lambda s: s.calls_in_window == 20)
    await governance.set_policy(
        name, BreakerPolicy(window=TimeWindow(seconds=120), min_calls=20, failure_rate=0.8)
    )
    view = await governance.breaker_state(name)
    assert (view.state, view.calls_in_window, view.failures_in_window) == ("CLOSED", 20, 12)
    assert view.settings.policy.window == TimeWindow(seconds=120)
    await governance.set_policy(name, BreakerPolicy(min_calls=20, failure_rate=0.6))
    view = await governance.breaker_state(name)
    assert (view.state, view.failures) == ("OPEN", 12)
    assert "12 of 20 calls failed" in view.reason


async def test_the_temporal_ui_can_show_what_it_is_and_why(
    governance: Governance, name: str
) -> None:
    await governance.set_policy(name, THREE_IN_A_ROW)
    await governance.report(name, 1, failures=3)
    await governance.until_state(name, BreakerState.OPEN)
    metadata = await governance.handle("breaker", name).query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    details = metadata.current_details.replace("\N{NO-BREAK SPACE}", "")
    assert f"{name} is OPEN" in details
    assert "| Why | 3 calls in a row failed (limit 3) |" in details.replace("\u00a0", "")
    assert "| --- | --- |" in details  # a table
    definition = metadata.definition
    handlers = [
        handler
        for handlers in (
            definition.query_definitions,
            definition.signal_definitions,
            definition.update_definitions,
        )
        for handler in handlers
        if not handler.name.startswith("__")
    ]
    assert {handler.name for handler in handlers} == {
        "report",
        "dependency",
        "watch",
        "watch_limit",
        "lease_probes",
        "configure",
        "command",
        "verdict",
        "state",
    }
    assert all(handler.description for handler in handlers)
