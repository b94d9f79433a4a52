"""What another policy would have done on the calls that were recorded."""

import asyncio
import random
from collections.abc import Callable
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from headgate.api.access import Viewer
from headgate.api.problems import ProblemError, not_found
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.model.contract import Contract, Name
from headgate.model.policy import BreakerPolicy
from headgate.simulate import Call, backtest, calls_in_spans

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
    """What the policy would have done: failures spared, good calls rejected, changes of state."""

    downstream: str
    result: dict[str, Any]


@router.post("")
async def run_backtest(request: Request, _: Viewer, body: BacktestRequest) -> BacktestResult:
    """Try a policy on recorded calls; changes nothing.

    Outcomes are recorded in stretches of 10 s: calls are spread evenly in each, with its mean
    duration, and those that were rejected then are not among them.
    """
    service = service_of(request)
    since = now_ms() - body.since_ms
    spans = await service.snapshots.outcome_spans(body.downstream, since)
    if not spans:
        raise not_found(f"no call of {body.downstream!r} was recorded in that time")
    total = sum(span.successes + span.failures + span.ignored for _, span in spans)
    if total > _MOST_CALLS:
        raise ProblemError(
            409,
            "refused",
            f"{total} calls are more than {_MOST_CALLS}: take a shorter time, or headgate backtest",
        )

    def jitter(name: str) -> Callable[[], float]:
        return random.Random(f"{body.seed}/{name}").random  # noqa: S311 - to be repeated

    def run() -> dict[str, Any]:
        calls: list[Call] = []
        for name, rows in groupby(spans, key=lambda row: row[0]):
            calls += calls_in_spans(name, [span for _, span in rows])
        return backtest(calls, body.policy, jitter).as_json()

    async with _ONE_AT_A_TIME:  # it is all reckoning: more at once would hold up everybody
        return BacktestResult(downstream=body.downstream, result=await asyncio.to_thread(run))
