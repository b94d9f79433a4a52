"""A demo where Temporal does not do all that it is asked for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)
from temporalio.service import RPCError, RPCStatusCode

from headgate.devstack import replay
from headgate.devstack.demo import _Traffic
from headgate.devstack.jobs import Job
from headgate.devstack.tally import Jobs
from headgate.model.ids import workflow_id
from headgate.model.policy import BreakerPolicy
from tests.harness import Governance, eventually


class _Tired(Interceptor):
    """Gives one history and no more."""

    def __init__(self) -> None:
        self.given = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _TiredOutbound(self, next)


class _TiredOutbound(OutboundInterceptor):
    def __init__(self, tired: _Tired, next: OutboundInterceptor) -> None:
        super().__init__(next)
        self._tired = tired

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        self._tired.given += 1
        if self._tired.given > 1:
            raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")
        return super().fetch_workflow_history_events(input)


async def test_what_was_replayed_counts_and_what_is_missing_is_said(
    governance: Governance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_PAUSES_S", ())
    for part in "ab":
        await governance.set_policy(f"{name}-{part}", BreakerPolicy())
    ids = ", ".join(f"'{workflow_id('breaker', f'{name}-{part}')}'" for part in "ab")
    query = f"WorkflowId IN ({ids})"
    whole = await eventually(
        lambda: replay.replay_all(governance.client, query), lambda result: result.checked == 2
    )
    assert (whole.failures, whole.missing) == ([], "")
    config = governance.client.config()
    config["interceptors"] = [_Tired()]
    part_of_it = await replay.replay_all(Client(**config), query)
    assert (part_of_it.checked, part_of_it.failures) == (1, [])
    assert part_of_it.missing == "Temporal: Timeout expired (cancelled)"


class _Away:
    async def start_workflow(self, *_: Any, **__: Any) -> None:
        raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")


async def test_jobs_that_could_not_be_submitted_are_counted() -> None:
    jobs, problems = Jobs(), list[str]()
    traffic = _Traffic(cast(Client, _Away()), jobs, problems)

    async def three() -> AsyncIterator[Job]:
        for _ in range(3):
            yield Job("acme", "scan", "scanner", "http://nowhere", 0)

    await traffic.play(three(), asyncio.Event(), 30)
    assert jobs.started == 0
    assert problems == [
        "3 jobs could not be submitted, the last one: Temporal: Timeout expired (cancelled)"
    ]
