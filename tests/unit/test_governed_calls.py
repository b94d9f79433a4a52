"""What happens around a governed activity in the process that runs it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from headgate.gate import Call, Gate
from headgate.gate import downstream as downstream_module
from headgate.gate.clock import now_ms
from headgate.gate.downstream import Downstream
from headgate.gate.lane import Lane
from headgate.gate.outcomes import Ended
from headgate.gate.protocol import AnyGate
from headgate.gate.ticket import Refusal, Ticket
from headgate.model.breaker import BreakerState, CallOutcome
from headgate.model.governed import GovernedCall
from headgate.model.reason import ReasonCode
from headgate.orchestrator.calls import GovernedCalls
from headgate.orchestrator.governed import GovernedActivity
from headgate.orchestrator.headers import CALL_HEADER, call_payload
from tests.unit.gates import QuietBreaker, gate_of, limited, one_place
from tests.unit.test_stock import Bank

PERMIT = Call(downstream="scanner", tenant="acme", permit="permit")


class Work(ActivityInboundInterceptor):
    """Stands for the activity, and what of its downstream it finds in use."""

    def __init__(self, downstream: Downstream) -> None:
        self._downstream = downstream
        self.found: list[tuple[int, list[str | None]]] = []

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        flights = self._downstream.flights
        self.found.append((len(flights), [ticket.probe for ticket in flights]))
        return "fine"


class Process:
    """Runs an activity as a worker would, with a gate that needs no server."""

    def __init__(self, downstream: Downstream, how: GovernedCall | None = None) -> None:
        self.gate: Gate = gate_of(downstream)
        self.gate.is_running = True
        self.work = Work(downstream)
        governed = {} if how is None else {"scan": GovernedActivity(how)}
        self._calls = GovernedCalls(self.work, self._now, governed)

    async def run(self, call: Call | None, **info: Any) -> Any:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, activity_type="scan", **info)
        headers = {} if call is None else {CALL_HEADER: call_payload(call)}
        input = ExecuteActivityInput(fn=_scan, args=[], executor=None, headers=headers)
        return await environment.run(self._calls.execute_activity, input)

    async def _now(self) -> AnyGate:
        return self.gate


@activity.defn(name="scan")
async def _scan() -> None: ...


# A governed call under a permit of the same downstream --------------------------------------------


async def test_a_call_takes_the_place_of_its_permit() -> None:
    downstream = one_place()
    process = Process(downstream, GovernedCall(downstream="scanner"))
    assert isinstance(await downstream.admit("permit", "acme", held=True), Ticket)
    assert await process.run(PERMIT) == "fine"
    assert process.work.found == [(1, [None])]
    assert not downstream.flights
    await downstream.close()


async def test_a_call_is_the_probe_of_its_permit() -> None:
    breaker = QuietBreaker(limited(state=BreakerState.HALF_OPEN, allow="probes"))
    breaker.probes = {"permit"}
    downstream = one_place(breaker)
    process = Process(downstream, GovernedCall(downstream="scanner"))
    assert isinstance(await downstream.admit("permit", "acme", held=True), Ticket)
    assert await process.run(PERMIT) == "fine"
    assert process.work.found == [(1, ["permit"])]
    await downstream.flush()
    assert [probe.id for report in breaker.reports for probe in report.probes] == ["permit"]
    await downstream.close()


async def test_units_beside_those_of_a_permit_come_back_when_its_downstream_refuses() -> None:
    bank, downstream = Bank(), one_place()
    lane = Lane(downstream, "acme", bank.stock)

    async def pass_() -> Ticket | Refusal:
        return await downstream.admit("call", "acme")

    passed = await lane.wait_under(pass_, 2, "acme", "call", patience_s=1, hold_ms=0)
    assert isinstance(passed, Ticket)
    assert (bank.stock.block.out, len(downstream.flights)) == (2, 1)
    lane.settle(passed, Ended(CallOutcome.SUCCESS, 1))
    assert (bank.stock.block.out, len(downstream.flights)) == (0, 0)
    downstream.take(limited(state=BreakerState.OPEN, epoch=4, allow="none"))
    refused = await lane.wait_under(pass_, 2, "acme", "call", patience_s=1, hold_ms=0)
    assert isinstance(refused, Refusal)
    assert bank.stock.block.out == 0
    await downstream.close()


# Waiting in the process, rather than using up attempts --------------------------------------------


def once(timeout_s: float = 20, **more: Any) -> dict[str, Any]:
    """Return an activity's info: it has one attempt, and so much time."""
    now = datetime.now(UTC)
    return {
        "started_time": now,
        "scheduled_time": now,
        "start_to_close_timeout": timedelta(seconds=timeout_s),
        "schedule_to_close_timeout": None,
        "retry_policy": RetryPolicy(maximum_attempts=1),
        "heartbeat_timeout": None,
        **more,
    }


@pytest.mark.parametrize("way", ["permit", "governed", "governed under a permit"])
async def test_a_call_with_one_attempt_waits_for_its_breaker(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream_module, "_RETRY_FORCED_MS", 100)
    breaker = QuietBreaker(limited())
    downstream = one_place(breaker)
    how = None if way == "permit" else GovernedCall(downstream="scanner")
    process = Process(downstream, how)
    await downstream.know()
    forced = limited(state=BreakerState.FORCED_OPEN, epoch=4, allow="none", reason="by ada")
    downstream.take(forced)
    running = asyncio.create_task(process.run(None if way == "governed" else PERMIT, **once()))
    while not downstream._outcomes:  # it has been turned away once
        await asyncio.sleep(0)
    downstream.take(limited(epoch=5))
    assert await running == "fine"
    await downstream.close()


async def test_a_call_with_one_attempt_waits_for_its_share_of_a_ramp() -> None:
    since_ms = now_ms()
    ramp = limited(
        state=BreakerState.RAMP,
        allow="ramp",
        ramp_start=0.9,
        since_ms=since_ms,
        until_ms=since_ms + 60_000,
        limit=None,
    )
    downstream = one_place(QuietBreaker(ramp))
    process = Process(downstream, GovernedCall(downstream="scanner"))
    while isinstance(passed := await downstream.admit("other", "acme"), Ticket):
        downstream.settle(passed, Ended(CallOutcome.SUCCESS, 1), "acme")
    assert passed.reason.code is ReasonCode.RAMP
    assert await process.run(PERMIT.model_copy(update={"downstream": "other"}), **once()) == "fine"
    await downstream.close()


@pytest.mark.parametrize("past_s", [0, 19.9])
async def test_the_time_for_all_attempts_counts_from_the_first(past_s: float) -> None:
    downstream = one_place()
    await downstream.know()
    opened = limited(
        state=BreakerState.OPEN, epoch=4, allow="none", until_ms=now_ms() + 1_500, reason="dead"
    )
    downstream.take(opened)
    process = Process(downstream, GovernedCall(downstream="scanner"))
    now = datetime.now(UTC)
    times = {
        "scheduled_time": now - timedelta(seconds=past_s),
        "schedule_to_close_timeout": timedelta(seconds=20),
        "attempt": 3,
    }
    running = asyncio.create_task(process.run(None, **once(10) | times))
    if past_s:
        with pytest.raises(ApplicationError, match="call held back: breaker of scanner is OPEN"):
            await asyncio.wait_for(running, 1)
    else:
        while not downstream._outcomes:
            await asyncio.sleep(0)
        downstream.take(limited(epoch=5))
        assert await running == "fine"
    await downstream.close()
