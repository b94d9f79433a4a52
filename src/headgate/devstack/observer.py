"""What the downstreams see: every call, and whether more is in use than was ever allowed."""

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
        over_grants: Calls that arrived while their tenant already used all of its quota, or the
            tenants of its pool together all of that.
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
        if self._is_too_much(tenant, resource):
            self.over_grants += 1
        try:
            yield calls
        finally:
            self._active[holder] -= 1

    def _is_too_much(self, tenant: str, resource: str) -> bool:
        settings = self.configuration.ledger(tenant)
        quotas = settings.quotas or {}
        quota = quotas.get(resource, quotas.get(DEFAULT))
        used = self._active[tenant, resource]
        if quota is not None and quota.max_active is not None and used > quota.max_active:
            return True
        if resource not in settings.pools:
            return False
        pool = self.configuration.pools[settings.pools[resource]]
        together = sum(self._active[name, resource] for name in self.configuration.members(pool))
        return together > pool.capacities[resource]
