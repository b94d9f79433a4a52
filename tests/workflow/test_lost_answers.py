"""The answer to a job is lost with its workflow task: the same question comes again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest

from headgate.gate.gate import Gate
from headgate.gate.ledger import LedgerLink
from headgate.gate.stock import Stock
from headgate.gate.ticket import Refusal, Ticket
from headgate.model.breaker import BreakerState
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Acquire, Admit, Decision, Holder, Outcome, Release
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.model.reason import Reason, ReasonCode
from tests.harness import Governance, acquire, eventually

POLICY = BreakerPolicy(failure_rate=None, consecutive_failures=1, open_ms=2_000, open_jitter=0)


async def test_a_permit_that_a_lost_refusal_gave_back_is_not_used(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.set_policy(name, POLICY)
    held, other = uuid4().hex, uuid4().hex
    for id in (held, other):  # who holds a permit has to exist
        await governance.client.start_workflow(
            "Job", id=f"job-{id}", task_queue="nobody", execution_timeout=timedelta(seconds=60)
        )
    await governance.exchange(name, [acquire(held)])
    gate = Gate(governance.client, governance.task_queue, governance.options)
    question = Admit(
        id=held,
        holder=Holder(workflow_id=f"job-{held}"),
        tenant=name,
        resource="scan",
        downstream=name,
        held=True,
    )
    async with gate.running():
        assert (await gate.admit(question)).outcome is Outcome.GRANTED
        await governance.report(name, 1, failures=1)

        async def verdict() -> Outcome:
            return (await gate.admit(question)).outcome

        await eventually(verdict, lambda outcome: outcome is Outcome.DENIED)
        reply = await governance.exchange(name, [acquire(other)])
        assert reply.decisions[0].outcome is Outcome.GRANTED  # what the refusal has given back
        await governance.until_state(name, BreakerState.HALF_OPEN)
        for _ in range(3):
            assert (await gate.admit(question)).outcome is Outcome.DENIED


@asynccontextmanager
async def leasing(governance: Governance, name: str) -> AsyncIterator[tuple[Gate, Stock]]:
    """A gate that has learned that permits come out of blocks, and what it has of them."""
    await governance.set_quotas(name, scan=Quota(max_active=4, leased=True))
    gate = Gate(governance.client, governance.task_queue, governance.options)
    async with gate.running():
        first = request(name)
        assert (await gate.admit(first)).outcome is Outcome.GRANTED
        await gate.release(Release(id=first.id, tenant=name))
        stock = gate._ledger(name).stock_of_jobs("scan")
        assert stock is not None
        yield gate, stock


def request(name: str, downstream: str | None = None) -> Admit:
    id = uuid4().hex
    holder = Holder(workflow_id=f"job-{id}")
    return Admit(id=id, holder=holder, tenant=name, resource="scan", downstream=downstream)


async def test_a_leased_permit_that_is_asked_for_again_is_taken_once(
    governance: Governance, name: str
) -> None:
    async with leasing(governance, name) as (gate, stock):
        asked = request(name)
        for _ in range(3):
            assert (await gate.admit(asked)).outcome is Outcome.GRANTED
        assert stock.block.out == 1
        await gate.release(Release(id=asked.id, tenant=name))
        assert stock.block.out == 0


async def test_what_the_ledger_may_have_granted_is_not_taken_out_of_a_block_as_well(
    governance: Governance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=4, leased=True))
    really = LedgerLink.acquire

    async def lost(link: LedgerLink, acquire: Acquire) -> Decision:
        await really(link, acquire)
        raise UnavailableError("the answer was lost")

    gate = Gate(governance.client, governance.task_queue, governance.options)
    async with gate.running():
        asked = request(name)
        monkeypatch.setattr(LedgerLink, "acquire", lost)
        unknown = await gate.admit(asked)
        assert unknown.reason is not None
        assert unknown.reason.code is ReasonCode.UNAVAILABLE
        monkeypatch.setattr(LedgerLink, "acquire", really)
        stock = gate._ledger(name).stock_of_jobs("scan")
        assert stock is not None  # by now it knows that permits come out of blocks
        assert (await gate.admit(asked)).outcome is Outcome.GRANTED
        assert stock.block.out == 0
        await gate.release(Release(id=asked.id, tenant=name))
    await governance.until_scans(name, granted=1, released=1, held=0)


async def test_a_leased_permit_that_the_downstream_refuses_is_back_at_once(
    governance: Governance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = Reason(code=ReasonCode.IN_FLIGHT, message="as many as there may be are in flight")

    async def refuse(key: str, tenant: str, *, held: bool = False) -> Ticket | Refusal:
        return Refusal(reason, 0)

    async with leasing(governance, name) as (gate, stock):
        monkeypatch.setattr(gate._downstream(name), "admit", refuse)
        assert (await gate.admit(request(name, name))).reason == reason
        assert stock.block.out == 0
        assert not stock.block.has_news
