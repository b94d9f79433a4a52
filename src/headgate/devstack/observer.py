"""What the downstreams see: every call, and whether a tenant holds more than its quota allows."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from headgate.model.configuration import Configuration
from headgate.model.ids import DEFAULT


@dataclass(slots=True)
class Calls:
    """The calls that reached one downstream."""

    admitted: int = 0
    failed: int = 0


@dataclass(slots=True)
class Observer:
    """Counts independently of Headgate: it knows the calls, and the quotas as configured.

    Attributes:
        configuration: The quotas that must hold.
        calls: By downstream.
        over_grants: Calls that arrived while their tenant already used all of its quota.
    """

    configuration: Configuration
    calls: dict[str, Calls] = field(default_factory=dict)
    over_grants: int = 0
    _active: Counter[tuple[str, str]] = field(default_factory=Counter)

    @contextmanager
    def call(self, downstream: str, tenant: str, resource: str) -> Iterator[Calls]:
        """Watch one call, from its arrival to its answer."""
        calls = self.calls.setdefault(downstream, Calls())
        calls.admitted += 1
        holder = (tenant, resource)
        self._active[holder] += 1
        limit = self._limit(tenant, resource)
        if limit is not None and self._active[holder] > limit:
            self.over_grants += 1
        try:
            yield calls
        finally:
            self._active[holder] -= 1

    def _limit(self, tenant: str, resource: str) -> int | None:
        quotas = self.configuration.ledger(tenant).quotas or {}
        quota = quotas.get(resource, quotas.get(DEFAULT))
        return None if quota is None else quota.max_active
