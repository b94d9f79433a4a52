"""For the tests of your own orchestrator: a gate that needs neither governance nor Postgres.

    from headgate.testing import FakeGate, FakeHeadgatePlugin

    async def test_a_job_comes_again_when_the_scanner_is_back() -> None:
        gate = FakeGate()
        plugin = FakeHeadgatePlugin(gate)
        async with await WorkflowEnvironment.start_time_skipping(plugins=[plugin]) as env:
            async with Worker(env.client, task_queue="jobs", workflows=[...], activities=[...]):
                gate.open_breaker("scanner", timedelta(minutes=5))
                await env.client.execute_workflow(ScanJob.run, ...)
        assert [call.outcome for call in gate.calls] == ["success"]
        assert gate.held == []

``headgate_gate`` is a fixture of pytest: import it in your ``conftest.py``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headgate.testing.gate import FakeGate
from headgate.testing.obstacles import Denial, Line
from headgate.testing.plugin import FakeHeadgatePlugin
from headgate.testing.records import Asked, Called, Refused

if TYPE_CHECKING:
    from headgate.testing.fixture import headgate_gate

__all__ = [
    "Asked",
    "Called",
    "Denial",
    "FakeGate",
    "FakeHeadgatePlugin",
    "Line",
    "Refused",
    "headgate_gate",
]


def __getattr__(name: str) -> Any:
    if name != "headgate_gate":
        raise AttributeError(f"module 'headgate.testing' has no attribute {name!r}")
    return import_module("headgate.testing.fixture").headgate_gate  # only this needs pytest
