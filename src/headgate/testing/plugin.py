"""The plugin for tests: ``HeadgatePlugin`` with a fake gate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio.client import Client

from headgate.gate.protocol import AnyGate
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.mistakes import shown
from headgate.orchestrator.plugin import HeadgatePlugin
from headgate.orchestrator.tenants import TenantOf
from headgate.testing.gate import FakeGate


class FakeHeadgatePlugin(HeadgatePlugin):
    """``HeadgatePlugin`` for tests: everything in the worker is the real thing, up to the gate.

        gate = FakeGate()
        plugin = FakeHeadgatePlugin(gate, governed="headgate.yaml")
        env = await WorkflowEnvironment.start_time_skipping(plugins=[plugin])

    Args:
        gate: Who answers.
        governed: As for ``HeadgatePlugin``.
        tenant: As for ``HeadgatePlugin``.
        fairness: As for ``HeadgatePlugin``.

    Raises:
        ConfigurationError: Something above cannot be used.
    """

    def __init__(
        self,
        gate: FakeGate,
        *,
        governed: Mapping[str, Any] | str | Path | None = None,
        tenant: TenantOf | None = None,
        fairness: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(gate, FakeGate):
            raise ConfigurationError(
                f"FakeHeadgatePlugin: gate is {shown(gate)}: write FakeGate(), which answers in "
                "place of governance"
            )
        super().__init__(governed=governed, tenant=tenant, fairness=fairness)
        self.gate = gate

    def _make_gate(self, client: Client) -> AnyGate:
        self.gate.meet(client)
        return self.gate
