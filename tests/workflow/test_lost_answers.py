"""The answer to a job is lost with its workflow task: the same question comes again."""

from datetime import timedelta
from uuid import uuid4

from headgate.gate.gate import Gate
from headgate.model.breaker import BreakerState
from headgate.model.ledger import Admit, Holder, Outcome
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
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
