"""What a permit block does when the job is collected in the middle of it."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.orchestrator import governance
from headgate.orchestrator.governance import Permit, current_permit


class FakeAsking:
    """Grants at once, and notes what is given back."""

    given_back: list[str]

    def __init__(self, *_: object) -> None:
        FakeAsking.given_back = []

    async def until_granted(self) -> Permit:
        return Permit("p1", "acme", "scan", None, None)

    async def give_back(self, id: str) -> None:
        FakeAsking.given_back.append(id)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governance, "_Asking", FakeAsking)
    info = SimpleNamespace(workflow_id="w", run_id="r")
    monkeypatch.setattr("temporalio.workflow.in_workflow", lambda: True)
    monkeypatch.setattr("temporalio.workflow.info", lambda: info)


def suspended() -> Coroutine[Any, Any, None]:
    async def job() -> None:
        async with governance.permit(tenant="acme", resource="scan"):
            await asyncio.get_running_loop().create_future()

    return job()


async def test_the_permit_is_known_in_the_block_and_given_back_after_it() -> None:
    async with governance.permit(tenant="acme", resource="scan") as permit:
        assert current_permit() == permit
    assert current_permit() is None
    assert FakeAsking.given_back == ["p1"]


async def test_a_cancelled_block_gives_its_permit_back() -> None:
    task = asyncio.ensure_future(suspended())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert FakeAsking.given_back == ["p1"]


async def test_a_block_that_is_collected_does_nothing_in_the_name_of_whoever_runs_then() -> None:
    job = suspended()
    job.send(None)
    job.close()
    assert FakeAsking.given_back == []
