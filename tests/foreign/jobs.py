"""Jobs that know nothing of Headgate's plugin: they send and read plain JSON."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from headgate.orchestrator.nexus_service import AdmitRequest, HeadgateService, Release

_SOON = timedelta(seconds=30)
_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn
class ActivityJob:
    """Asks by the activities; what it was answered and told is what it returns."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self.decisions: list[dict[str, Any]] = []
        self.may_end = False

    @workflow.run
    async def run(self, governance: str, ask: dict[str, Any]) -> list[dict[str, Any]]:
        decision = await self._call("headgate.admit", governance, ask)
        if decision["outcome"] == "waiting":
            await workflow.wait_condition(lambda: decision["id"] in self.told)
            self.decisions.append(self.told[decision["id"]])
            if "expires_at_ms" not in self.told[decision["id"]]:
                return self.decisions
        elif decision["outcome"] == "denied":
            return self.decisions
        await workflow.wait_condition(lambda: self.may_end)
        release = {"id": decision["id"], "tenant": ask["tenant"]}
        await self._call("headgate.release", governance, release)
        return self.decisions

    async def _call(self, name: str, governance: str, argument: Any) -> Any:
        answer = await workflow.execute_activity(
            name,
            argument,
            task_queue=governance,
            schedule_to_close_timeout=_SOON,
            retry_policy=_ONCE,
        )
        if answer is not None:
            self.decisions.append(answer)
        return answer

    @workflow.signal
    def headgate_granted(self, grant: dict[str, Any]) -> None:
        self.told[grant["id"]] = grant

    @workflow.signal
    def headgate_refused(self, decision: dict[str, Any]) -> None:
        self.told[decision["id"]] = {"outcome": "denied", "reason": decision["reason"]}

    @workflow.signal
    def end(self) -> None:
        self.may_end = True

    @workflow.query
    def known(self) -> list[dict[str, Any]]:
        return self.decisions


@workflow.defn
class RawCall:
    """Calls one activity of governance with whatever it is given."""

    @workflow.run
    async def run(self, governance: str, name: str, arguments: list[Any]) -> Any:
        return await workflow.execute_activity(
            name, args=arguments, task_queue=governance, schedule_to_close_timeout=_SOON
        )


@workflow.defn
class NexusJob:
    """Asks by Nexus, from whichever namespace it runs in; while it waits, it asks again."""

    def __init__(self) -> None:
        self.decisions: list[dict[str, Any]] = []
        self.may_end = False

    @workflow.run
    async def run(self, endpoint: str, ask: AdmitRequest) -> list[dict[str, Any]]:
        headgate = workflow.create_nexus_client(service=HeadgateService, endpoint=endpoint)
        while True:
            decision = await headgate.execute_operation(
                HeadgateService.admit, ask, schedule_to_close_timeout=_SOON
            )
            self.decisions.append(decision.model_dump(mode="json", exclude_none=True))
            if decision.outcome != "waiting":
                break
            ask = ask.model_copy(update={"id": decision.id})
            await asyncio.sleep(0.1)
        if decision.outcome == "denied":
            return self.decisions
        await workflow.wait_condition(lambda: self.may_end)
        release = Release(id=decision.id, tenant=ask.tenant)
        await headgate.execute_operation(
            HeadgateService.release, release, schedule_to_close_timeout=_SOON
        )
        return self.decisions

    @workflow.signal
    def end(self) -> None:
        self.may_end = True

    @workflow.query
    def known(self) -> list[dict[str, Any]]:
        return self.decisions


@workflow.defn
class RawNexusCall:
    """Calls one operation of ``HeadgateService`` with whatever it is given."""

    @workflow.run
    async def run(self, endpoint: str, operation: str, argument: Any) -> Any:
        headgate = workflow.create_nexus_client(service="HeadgateService", endpoint=endpoint)
        return await headgate.execute_operation(
            operation, argument, schedule_to_close_timeout=_SOON
        )
