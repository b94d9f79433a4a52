"""What another policy would have done on the calls that were recorded."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from headgate.api.access import Viewer
from headgate.api.problems import ProblemError, not_found
from headgate.api.service import Service, service_of
from headgate.gate.clock import now_ms
from headgate.model.contract import Contract, Name
from headgate.model.policy import BreakerPolicy
from headgate.simulate import (
    Backtest,
    Recorded,
    backtest,
    calls_in_spans,
    notes_on_record,
    recorded,
)

router = APIRouter(prefix="/v1/backtest", tags=["downstreams"])

_MOST_CALLS = 500_000
_ONE_AT_A_TIME = asyncio.Semaphore(1)


class BacktestRequest(Contract):
    """A policy, and on which calls to try it.

    Attributes:
        policy: That of a breaker.
        downstream: On the calls of this one.
        since_ms: From when on, before now, in milliseconds; at most 30 days.
        seed: Of the jitter; the same seed gives the same result.
    """

    policy: BreakerPolicy
    downstream: Name
    since_ms: Annotated[int, Field(ge=10_000, le=30 * 86_400_000)] = 86_400_000
    seed: int = 0


class BacktestResult(BaseModel):
    """What the policy would have done: failures spared, good calls rejected, changes of state.

    Attributes:
        downstream: On whose calls.
        result: What it would have done.
        recorded: What really happened: calls that ended, how many of them failed, how many more
            were rejected, and how often the breaker opened.
        notes: What the record does not say, in sentences.
    """

    downstream: str
    result: dict[str, Any]
    recorded: Recorded
    notes: list[str]


@router.post("")
async def run_backtest(request: Request, _: Viewer, body: BacktestRequest) -> BacktestResult:
    """Try a policy on recorded calls; changes nothing.

    Outcomes are recorded in stretches of 10 s: calls are spread evenly in each, with its mean
    duration; failures in a row are known where they opened the breaker, and those calls that were
    rejected then are not among them.
    """
    really, (result,) = await play(
        service_of(request), body.downstream, body.since_ms, [body.policy], body.seed
    )
    return BacktestResult(
        downstream=body.downstream,
        result=result.as_json(),
        recorded=really,
        notes=notes_on_record(body.policy),
    )


async def play(
    service: Service,
    downstream: str,
    since_ms: int,
    policies: Sequence[BreakerPolicy],
    seed: int = 0,
) -> tuple[Recorded, list[Backtest]]:
    """Play what was recorded of a downstream to each of some policies.

    Args:
        service: Of the API.
        downstream: Whose calls.
        since_ms: From when on, before now, in milliseconds.
        policies: What is tried.
        seed: Of the jitter.

    Returns:
        What really happened, and the result of each policy.

    Raises:
        ProblemError: Nothing was recorded, or too much for one answer.
    """
    begin_ms = now_ms() - since_ms
    spans = [span for _, span in await service.snapshots.outcome_spans(downstream, begin_ms)]
    steps = [step for _, step in await service.snapshots.transitions(begin_ms, downstream)]
    if not spans:
        raise not_found(f"no call of {downstream!r} was recorded in that time")
    really = recorded(spans, steps)
    if really.calls * len(policies) > _MOST_CALLS:
        raise ProblemError(
            409,
            "refused",
            f"{really.calls} calls are more than {_MOST_CALLS // len(policies)}: take a shorter "
            "time, or headgate backtest",
        )

    def jitter(name: str) -> Callable[[], float]:
        return random.Random(f"{seed}/{name}").random  # noqa: S311 - to be repeated

    def run() -> list[Backtest]:
        calls = calls_in_spans(downstream, spans, steps)
        return [backtest(calls, policy, jitter) for policy in policies]

    async with _ONE_AT_A_TIME:  # it is all reckoning: more at once would hold up everybody
        return really, await asyncio.to_thread(run)
