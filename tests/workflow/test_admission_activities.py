"""Jobs without the plugin ask by the activities of the governance worker, in plain JSON."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from headgate.devstack.stack import Stack
from headgate.gate import Gate
from headgate.model.breaker import BreakerState
from headgate.model.errors import UnavailableError
from headgate.model.ledger import (
    Admit,
    Decision,
    Holder,
    LedgerCommand,
    Outcome,
    Release,
    ReleasePermit,
    SetPause,
)
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.orchestrator.known_names import KnownNames
from headgate.orchestrator.operate import command_ledger, new_command_id
from headgate.orchestrator.remote_admission import RemoteAdmission
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from tests.foreign.jobs import ActivityJob, RawCall
from tests.harness import Governance, acquire, apply, eventually, now_ms, soon_left

Handle = WorkflowHandle[ActivityJob, list[dict[str, Any]]]


class Jobs:
    """A worker as it is without Headgate: Temporal's own converter, no plugin."""

    def __init__(self, client: Client, task_queue: str, governance: str) -> None:
        self.client = client
        self.task_queue = task_queue
        self.governance = governance

    async def start(self, ask: dict[str, Any]) -> Handle:
        return await self.client.start_workflow(
            ActivityJob.run,
            args=[self.governance, ask],
            id=f"foreign-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(minutes=2),
        )

    async def started(self, ask: dict[str, Any]) -> tuple[Handle, dict[str, Any]]:
        """Start a job; return it with the answer that it got."""
        job = await self.start(ask)
        decisions = await eventually(lambda: job.query(ActivityJob.known), bool)
        return job, decisions[0]

    async def call(self, name: str, *arguments: Any) -> Any:
        return await self.client.execute_workflow(
            RawCall.run,
            args=[self.governance, name, list(arguments)],
            id=f"foreign-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(minutes=2),
        )

    async def refusal(self, name: str, *arguments: Any) -> str:
        """Call what is not valid; return in which words it is refused."""
        with pytest.raises(WorkflowFailureError) as failure:
            await self.call(name, *arguments)
        assert isinstance(failure.value.cause, ActivityError)
        cause = failure.value.cause.cause
        assert isinstance(cause, ApplicationError)
        assert (cause.type, cause.non_retryable) == ("headgate.InvalidRequest", True)
        return cause.message


@pytest_asyncio.fixture
async def jobs(stack: Stack, governance: Governance) -> AsyncIterator[Jobs]:
    client = await Client.connect(stack.temporal_address)
    task_queue = f"foreign-{uuid4().hex[:8]}"
    worker = Worker(client, task_queue=task_queue, workflows=[ActivityJob, RawCall])
    async with soon_left(worker):
        yield Jobs(client, task_queue, governance.task_queue)


async def test_a_job_may_leave_out_who_it_is(jobs: Jobs, governance: Governance, name: str) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    job, decision = await jobs.started({"tenant": name, "resource": "scan"})
    run_id = (await job.describe()).run_id
    assert decision["outcome"] == "granted"
    assert not decision["quiet"]  # nobody here would hear of its end by itself
    assert decision["id"].startswith(f"{run_id}/")
    assert decision["expires_at_ms"] > now_ms()
    (permit,) = (await governance.holders(name)).permits
    assert (permit.id, permit.workflow_id, permit.run_id) == (decision["id"], job.id, run_id)
    assert permit.namespace == ""
    await job.signal(ActivityJob.end)
    await job.result()
    await governance.until_scans(name, granted=1, released=1, held=0)


async def test_empty_values_mean_the_same_as_nothing(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    nobody = {"workflow_id": "", "run_id": ""}
    ask = {"id": "", "holder": nobody, "tenant": name, "resource": "scan", "downstream": None}
    job, decision = await jobs.started({**ask, "of_a_later_version": 1})
    assert decision["outcome"] == "granted"
    (permit,) = (await governance.holders(name)).permits
    assert permit.workflow_id == job.id
    await job.signal(ActivityJob.end)
    await job.result()


async def test_a_denial_is_a_value_with_its_reason(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    holder, _ = await jobs.started({"tenant": name, "resource": "scan"})
    (denied,) = await (await jobs.start({"tenant": name, "resource": "scan"})).result()
    assert denied["outcome"] == "denied"
    assert denied["retry_at_ms"] > now_ms()
    assert denied["reason"]["code"] == "quota_used_up"
    assert (denied["reason"]["limit"], denied["reason"]["used"]) == (1, 1)
    await holder.signal(ActivityJob.end)
    await holder.result()


async def test_the_same_id_gets_the_same_permit(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=5))
    job, _ = await jobs.started({"tenant": name, "resource": "scan"})
    ask = {"id": f"job-7-of-{name}", "tenant": name, "resource": "scan", "units": 2}
    ask["holder"] = {"workflow_id": job.id}
    first, second = [await jobs.call("headgate.admit", ask) for _ in range(2)]
    assert first == second
    assert (await governance.account(name)).units_held == {"scan": 3}
    for _ in range(2):
        await jobs.call("headgate.release", {"id": ask["id"], "tenant": name})
    await governance.until_scans(name, granted=2, released=1, held=1)


async def test_one_that_waits_is_told_by_a_signal(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    first, _ = await jobs.started({"tenant": name, "resource": "scan"})
    ask = {"tenant": name, "resource": "scan", "wait_until_ms": now_ms() + 60_000}
    second, waiting = await jobs.started(ask)
    assert waiting["outcome"] == "waiting"
    assert waiting["reason"]["position"] == 1
    await first.signal(ActivityJob.end)
    await first.result()
    await second.signal(ActivityJob.end)
    _, told = await second.result()
    assert told["id"] == waiting["id"]
    assert told["expires_at_ms"] > now_ms()
    await governance.until_scans(name, granted=2, released=2, held=0)


async def test_one_that_is_taken_out_of_the_line_is_told_why(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    first, _ = await jobs.started({"tenant": name, "resource": "scan"})
    ask = {"tenant": name, "resource": "scan", "wait_until_ms": now_ms() + 60_000}
    second, waiting = await jobs.started(ask)
    command = LedgerCommand(
        id=uuid4().hex,
        actor="kim",
        reason="not needed any more",
        action=ReleasePermit(permit=waiting["id"]),
    )
    reply = await command_ledger(
        governance.client, governance.database, name, command, governance.task_queue
    )
    assert reply.accepted
    _, told = await second.result()
    assert told["outcome"] == "denied"
    assert told["reason"]["code"] == "taken_out"
    assert "kim" in told["reason"]["message"]
    await first.signal(ActivityJob.end)
    await first.result()


async def test_the_permit_of_a_job_that_has_closed_is_reclaimed(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await governance.watchful().set_quotas(name, scan=Quota(max_active=1))
    job, _ = await jobs.started({"tenant": name, "resource": "scan"})
    await job.terminate()
    await governance.until_scans(name, reclaimed=1, held=0)


@pytest.mark.parametrize("code", ["breaker_open", "suspended"])
async def test_an_open_breaker_denies_and_leaves_nothing_behind(
    jobs: Jobs, governance: Governance, name: str, code: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.set_policy(name, BreakerPolicy(consecutive_failures=2, open_ms=60_000))
    holder, _ = await jobs.started({"tenant": name, "resource": "scan", "downstream": name})
    wait = {"wait_until_ms": now_ms() + 60_000, "downstream": name}
    id, who = f"in-line-{name}", {"workflow_id": holder.id}
    ask = {"id": id, "tenant": name, "resource": "scan", "holder": who, **wait}
    assert (await jobs.call("headgate.admit", ask))["outcome"] == "waiting"

    if code == "suspended":
        pause = LedgerCommand(
            id=new_command_id(), actor="ada", reason="a drill", action=SetPause(resource="*")
        )
        await command_ledger(governance.client, governance.database, name, pause)
    await governance.report(name, seq=1, failures=2)
    await governance.until_state(name, BreakerState.OPEN)

    async def asked_again() -> dict[str, Any]:
        answer: dict[str, Any] = await jobs.call("headgate.admit", ask)
        return answer

    denied = await eventually(asked_again, lambda answer: answer["outcome"] == "denied")
    assert denied["reason"]["code"] == code
    assert denied["retry_at_ms"] > now_ms()
    await holder.signal(ActivityJob.end)
    await holder.result()
    await governance.until_scans(name, held=0, released=1)
    page = await governance.holders(name)
    assert (page.permits, page.waiters) == ([], [])
    assert page.ledger.accounts["scan"].granted == 1


async def test_what_cannot_be_read_is_refused_in_plain_words(jobs: Jobs) -> None:
    words = await jobs.refusal(
        "headgate.admit", {"tenant": "acme", "resource": "scan", "units": -1}
    )
    assert words == "headgate.admit: units is -1: Input should be greater than or equal to 1"
    words = await jobs.refusal("headgate.admit", {"tenant": "", "resource": "scan"})
    assert words.startswith("headgate.admit: tenant is '': ")
    words = await jobs.refusal("headgate.admit", {"resource": "scan"})
    assert words == "headgate.admit: tenant: Field required"
    twice = {"tenant": "acme", "resource": "scan", "also": {"scan": 1}}
    words = await jobs.refusal("headgate.admit", twice)
    assert words == "headgate.admit: also names scan again: put all of it into units"
    words = await jobs.refusal("headgate.admit")
    assert words == "headgate.admit: takes one argument, an object, and got 0"
    words = await jobs.refusal("headgate.release", {"tenant": "acme"})
    assert words == "headgate.release: id: Field required"


async def test_a_downstream_that_nobody_lists_is_refused_and_has_no_breaker(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await apply(governance.database, {"listed": {}}, {name: {"quotas": {"scan": {}}}})
    ask = {"tenant": name, "resource": "scan", "downstream": f"nope-{name}"}
    words = await jobs.refusal("headgate.admit", ask)
    assert words == (
        f"headgate.admit: nope-{name} is no downstream (there is: listed): list it under "
        "downstreams"
    )
    assert await governance.is_unheard_of("breaker", f"nope-{name}")
    assert await governance.is_unheard_of("ledger", name)  # nothing was asked of it

    # One that has a breaker already goes on, and what is listed since is known at once.
    await governance.set_policy(f"nope-{name}", BreakerPolicy())
    assert (await jobs.call("headgate.admit", ask))["outcome"] == "granted"
    late = {"downstream": f"late-{name}"}
    await jobs.refusal("headgate.admit", {**ask, **late})
    await apply(governance.database, {f"late-{name}": {}}, {name: {"quotas": {"scan": {}}}})
    assert (await jobs.call("headgate.admit", {**ask, **late}))["outcome"] == "granted"


async def test_for_a_tenant_that_nobody_lists_there_is_no_ledger(
    jobs: Jobs, governance: Governance, name: str
) -> None:
    await apply(governance.database, None, {"listed": {"quotas": {"scan": {}}}})
    denied = await jobs.call("headgate.admit", {"id": "i", "tenant": name, "resource": "scan"})
    assert (denied["outcome"], denied["retry_at_ms"]) == ("denied", None)
    assert denied["reason"]["code"] == "unknown_tenant"
    # The ledger of one that plugins have asked for says the same.
    (of_ledger,) = (await governance.exchange(f"other-{name}", [acquire("i")])).decisions
    assert of_ledger.reason is not None
    assert denied["reason"]["message"] == of_ledger.reason.message.replace("other-", "")
    await jobs.call("headgate.release", {"id": "i", "tenant": name})
    assert await governance.is_unheard_of("ledger", name)


async def test_while_postgres_is_away_every_name_is_taken_at_its_word(name: str) -> None:
    names = KnownNames(ConfigurationStore(Database("postgresql://nobody@127.0.0.1:1/nothing")))
    assert await names.is_tenant(name)
    assert await names.mistaken_downstream(name) is None


class Away:
    """A gate whose ledger does not answer."""

    async def admit(self, request: Admit) -> Decision:
        raise UnavailableError("the ledger does not answer")

    async def release(self, message: Release) -> None:
        raise UnavailableError("the ledger does not answer")


async def test_a_ledger_that_does_not_answer_is_told_by_a_signal(
    governance: Governance, name: str
) -> None:
    async def gate() -> Gate:
        return cast(Gate, Away())

    names = KnownNames(ConfigurationStore(governance.database))
    admission = RemoteAdmission(
        gate, names, governance.client, governance.task_queue, governance.options
    )
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.exchange(name, [acquire(f"p-{name}")])
    await admission.release({"id": f"p-{name}", "tenant": name})
    await governance.until_scans(name, released=1, held=0)

    ask = {"tenant": name, "resource": "scan"}
    decision = await admission.admit(ask, "the-id", Holder(workflow_id="job"))
    assert (decision.id, decision.outcome) == ("the-id", Outcome.DENIED)
    assert decision.reason is not None
    assert decision.reason.code is ReasonCode.UNAVAILABLE
    assert "same id" in decision.reason.message
