"""Admission for jobs that have no gate in their process, answered by the governance worker's."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.client import Client

from headgate.gate.kinds import governing
from headgate.gate.protocol import AnyGate
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ledger import Admit, Decision, Holder, Outcome, Release
from headgate.model.reason import Reason, ReasonCode
from headgate.model.remote import AdmitRequest
from headgate.orchestrator.known_names import KnownNames
from headgate.orchestrator.obstacles import OF_BREAKERS
from headgate.quota.reasons import unknown_tenant

Wanted = TypeVar("Wanted", bound=BaseModel)

_ANSWER_WITHIN_S: Final = 8.0
"""A Nexus handler has 10 s, some of which pass on the way."""

_RETRY_LATE_MS: Final = 1_000
_SIGNAL_S: Final = 2.0


class RemoteAdmission:
    """What the activities and the Nexus operations of the governance worker have in common.

    Args:
        gate: Returns the gate, once it is running.
        names: Tells whom and what there is.
        client: Of the namespace in which governance runs.
        task_queue: Of the governance workers.
        options: How the workflows that are started here keep house.
    """

    def __init__(
        self,
        gate: Callable[[], Awaitable[AnyGate]],
        names: KnownNames,
        client: Client,
        task_queue: str,
        options: EntityOptions,
    ) -> None:
        self._gate = gate
        self._names = names
        self._client = client
        self._task_queue = task_queue
        self._options = options

    async def admit(self, asked: object, id: str, caller: Holder | None) -> Decision:
        """Decide whether a job may go on.

        Args:
            asked: An ``AdmitRequest``, as it came.
            id: For a request without one; the same for every attempt.
            caller: For a request without a holder; None: not known.

        Raises:
            ConfigurationError: The request is not valid, or there is no such downstream.
        """
        request = _read(AdmitRequest, asked)
        try:
            admit = request.completed(id, caller)
        except ValueError as error:
            raise ConfigurationError(f"{_name(AdmitRequest)}: {error}") from None
        gate = await self._gate()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                decision = await self._unknown(admit) or await gate.admit(admit)
        except (TimeoutError, UnavailableError):
            return _unavailable(admit.id)
        if admit.wait_until_ms is not None and _is_of_gate(decision):
            # Asked again by one in line: it is not to be granted what it will not come for.
            release = Release(id=admit.id, tenant=admit.tenant, downstream=admit.downstream)
            try:
                await self._give_back(gate, release)
            except UnavailableError:
                return _unavailable(admit.id)
        return decision

    async def release(self, asked: object) -> None:
        """Give back what a job holds, or withdraw what it asked for.

        Args:
            asked: A ``Release``, as it came.

        Raises:
            ConfigurationError: The message is not valid.
            UnavailableError: Neither the ledger nor the server took it.
        """
        release = _read(Release, asked)
        if await self._names.is_tenant(release.tenant):  # else nothing was ever granted to it
            await self._give_back(await self._gate(), release)

    async def _unknown(self, admit: Admit) -> Decision | None:
        """Return the denial of a tenant that nobody has listed; None: there is such a tenant.

        Raises:
            ConfigurationError: There is no such downstream.
        """
        if admit.downstream is not None:
            mistake = await self._names.mistaken_downstream(admit.downstream)
            if mistake is not None:
                raise ConfigurationError(f"{_name(AdmitRequest)}: {mistake}")
        if await self._names.is_tenant(admit.tenant):
            return None
        return Decision(id=admit.id, outcome=Outcome.DENIED, reason=unknown_tenant(admit.tenant))

    async def _give_back(self, gate: AnyGate, release: Release) -> None:
        try:
            await gate.release(release)
        except UnavailableError:
            # The ledger is slow or away. The server keeps a signal for it.
            ledger = governing(
                self._client, "ledger", release.tenant, self._options, self._task_queue
            )
            await ledger.signal("release", release, _SIGNAL_S)


def _is_of_gate(decision: Decision) -> bool:
    """Return whether a gate has denied for now what a ledger may have in line.

    Who is suspended waits in the line of its ledger; only beside a breaker it is refused for that.
    """
    if decision.outcome is not Outcome.DENIED or decision.reason is None:
        return False
    for_now = decision.reason.code is ReasonCode.SUSPENDED and decision.retry_at_ms is not None
    return for_now or decision.reason.code in OF_BREAKERS


def _unavailable(id: str) -> Decision:
    return Decision(
        id=id,
        outcome=Outcome.DENIED,
        retry_at_ms=time.time_ns() // 1_000_000 + _RETRY_LATE_MS,
        reason=Reason(
            code=ReasonCode.UNAVAILABLE,
            message="no answer in time, so nobody knows whether it is granted: ask again under "
            "the same id",
        ),
    )


def _read(kind: type[Wanted], asked: Any) -> Wanted:
    """Return what was asked, from plain JSON.

    Raises:
        ConfigurationError: It is not valid.
    """
    try:
        return kind.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        given = f" is {first['input']!r:.100}" if where and first["type"] != "missing" else ""
        what = f"{where}{given}: {words}" if where else words
        raise ConfigurationError(f"{_name(kind)}: {what}") from None


def _name(kind: type[BaseModel]) -> str:
    return "release" if kind is Release else "admit"
