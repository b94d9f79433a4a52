"""Gates in one process, with a breaker that only listens."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate import Gate
from headgate.gate.downstream import Downstream
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import BreakerState, ProbeReply, ProbeRequest, Report, Verdict
from headgate.model.entity import EntityOptions
from headgate.model.limits import LimitPolicy


class QuietBreaker:
    """Takes every report, and answers the verdict that it was given, unless it is away."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.is_away = self.hangs = False
        self.asked = 0
        self.reports: list[Report] = []
        self.probes: set[str] = set()
        self._answers: dict[str, ProbeReply] = {}

    def lets_probe(self, id: str, verdict: Verdict) -> None:
        """From now on lease the probe with this id, and no other."""
        self.probes = {id}
        self._verdict = verdict

    async def update(
        self, name: str, request: ProbeRequest, update_id: str, *_: Any, **__: Any
    ) -> ProbeReply:
        """Lease probes; as the server does, answer an id that it knows as it did before."""
        assert name == "lease_probes"
        granted = [id for id in request.ids if id in self.probes]
        reply = ProbeReply(granted=granted, deadline_ms=None, verdict=self._verdict)
        return self._answers.setdefault(update_id, reply)

    async def signal(self, name: str, report: Report, *_: Any, **__: Any) -> None:
        """Take a report."""
        assert name == "report"
        # As it comes out of the wire: a name that no report may have would be refused there.
        self.reports.append(Report.model_validate_json(report.model_dump_json()))

    async def query(self, *_: Any, **__: Any) -> Verdict:
        """Answer."""
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise RPCError("no connection", RPCStatusCode.UNAVAILABLE, b"")
        return self._verdict


def limited(**changes: Any) -> Verdict:
    """Return a verdict under which one call may be in flight."""
    known: dict[str, Any] = {
        "downstream": "scanner",
        "state": BreakerState.CLOSED,
        "epoch": 3,
        "allow": "all",
        "limit": LimitPolicy(max_in_flight=1),
    }
    return Verdict(**(known | changes))


def one_place(breaker: QuietBreaker | None = None) -> Downstream:
    quiet = breaker or QuietBreaker(limited())
    return Downstream("scanner", "gate", "queue", cast(GovernanceWorkflow, quiet))


def gate_of(downstream: Downstream) -> Gate:
    runtime = SimpleNamespace(config=SimpleNamespace(runtime=None))
    client = cast(Client, SimpleNamespace(service_client=runtime))
    gate = Gate(client, "headgate", EntityOptions())
    gate._downstreams[downstream.name] = downstream
    return gate
