"""What a fake gate hands out: ways to a downstream, tickets, and what jobs hold."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from headgate.gate.outcomes import Ended
from headgate.gate.ticket import Era, Refusal, Ticket
from headgate.model.breaker import UNKNOWN_EPOCH, CallOutcome, Verdict
from headgate.model.lease import LeaseHolder
from headgate.testing.records import Asked


class FakeTicket(Ticket):
    """A call that was let pass, with what was asked for it."""

    __slots__ = ("asked",)

    def __init__(self, asked: Asked) -> None:
        super().__init__(Era(UNKNOWN_EPOCH), monotonic(), None, asked.units)
        self.asked = asked


class _Asker(Protocol):
    async def ask(self, asked: Asked, patience_s: float) -> Refusal | None: ...

    def settle(self, ticket: FakeTicket, ended: Ended) -> None: ...


@dataclass(frozen=True, slots=True)
class FakeDownstream:
    """What is called, as far as a call needs to know it."""

    verdict: Verdict


class FakeLane:
    """The way of calls to one downstream for one tenant; see ``Lane``."""

    def __init__(
        self, gate: _Asker, downstream: FakeDownstream, tenant: str, resource: str | None
    ) -> None:
        self.downstream = downstream
        self._gate = gate
        self._tenant = tenant
        self._resource = resource

    def enter(self, units: int = 1, hold_ms: int = 0) -> Ticket | None:
        """Leave every call to ``wait``."""
        return None

    async def wait(
        self,
        units: int,
        tenant: str,
        key: str,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
        job: LeaseHolder | None = None,
    ) -> Ticket | Refusal:
        """See ``Lane``."""
        name = self.downstream.verdict.downstream
        run_id, _, _ = key.partition(":")
        asked = Asked(
            "call", tenant, self._resource, name, units, priority=priority, id=key, job=run_id
        )
        return await self._gate.ask(asked, patience_s) or FakeTicket(asked)

    async def wait_under(
        self,
        begin: Callable[[], Awaitable[Ticket | Refusal]],
        units: int,
        tenant: str,
        key: str,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
    ) -> Ticket | Refusal:
        """See ``Lane``."""
        if self._resource is None:
            return await begin()
        return await self.wait(
            units, tenant, key, patience_s=patience_s, hold_ms=hold_ms, priority=priority
        )

    def leave(self, ticket: Ticket) -> bool:
        """See ``Lane``."""
        took_ms = round((monotonic() - ticket.began_s) * 1000)
        self.settle(ticket, Ended(CallOutcome.SUCCESS, took_ms))
        return True

    def settle(self, ticket: Ticket, ended: Ended) -> None:
        """See ``Lane``."""
        assert isinstance(ticket, FakeTicket)
        self._gate.settle(ticket, ended)


class FakeJobs:
    """What jobs hold until they end; see ``JobHolds``."""

    def __init__(self, release: Callable[[str], None]) -> None:
        self._release = release
        self._of_run: dict[str, set[tuple[str, str]]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    def holds(self, run_id: str, tenant: str, resource: str) -> bool:
        """See ``JobHolds``."""
        return (tenant, resource) in self._of_run.get(run_id, ())

    def note(self, run_id: str, tenant: str, resource: str) -> None:
        """Note that a run holds units."""
        self._of_run.setdefault(run_id, set()).add((tenant, resource))

    @asynccontextmanager
    async def once(self, id: str) -> AsyncIterator[None]:
        """Let the calls of one job ask one after the other: the second finds what the first has."""
        async with self._asking.setdefault(id, asyncio.Lock()):
            yield

    def called(self, run_id: str, tenant: str, resource: str) -> None:
        """See ``JobHolds``: in a test there is one process."""

    def close(self, run_id: str, held: Sequence[tuple[str, str]], calls: int) -> None:
        """See ``JobHolds``."""
        for tenant, resource in sorted(self._of_run.pop(run_id, ())):
            self._release(f"{run_id}/{tenant}/{resource}")
