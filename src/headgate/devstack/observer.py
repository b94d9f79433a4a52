"""What the downstreams see: every call, and whether more is in use than was ever allowed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from headgate.gate.clock import now_ms
from headgate.model.configuration import Configuration
from headgate.model.ids import DEFAULT

_WRITTEN_WITHIN_MS: Final = 5_000


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
        excesses: Calls that arrived while their tenant already used all of its quota, or the
            tenants of its pool together all of that: when (Unix time), and what would have allowed
            it, had people changed it before (``ledger/TENANT`` or ``governor/POOL``).
    """

    configuration: Configuration
    calls: dict[str, Calls] = field(default_factory=dict)
    excesses: list[tuple[int, str]] = field(default_factory=list)
    _active: Counter[tuple[str, str]] = field(default_factory=Counter)

    @contextmanager
    def call(self, downstream: str, tenant: str, resource: str) -> Iterator[Calls]:
        """Watch one call, from its arrival to its answer."""
        calls = self.calls.setdefault(downstream, Calls())
        calls.admitted += 1
        holder = (tenant, resource)
        self._active[holder] += 1
        if (limit := self._exceeded(tenant, resource)) is not None:
            self.excesses.append((now_ms(), limit))
        try:
            yield calls
        finally:
            self._active[holder] -= 1

    def over_grants(self, changes: Iterable[tuple[int, str]] = ()) -> int:
        """Return how many calls nobody had allowed.

        What people change while it runs is not known here, so a tenant or a pool is not judged
        from then on.

        Args:
            changes: When (Unix time) people changed what, as in ``excesses``; a change may be
                written down a little later than it holds.
        """
        changed_ms: dict[str, int] = {}
        for at_ms, target in changes:
            changed_ms[target] = min(at_ms, changed_ms.get(target, at_ms))
        return sum(
            all(
                at_ms < changed_at_ms - _WRITTEN_WITHIN_MS
                for changed, changed_at_ms in changed_ms.items()
                # Of a tenant, or of one resource of it.
                if changed == target or changed.startswith(f"{target}/")
            )
            for at_ms, target in self.excesses
        )

    def _exceeded(self, tenant: str, resource: str) -> str | None:
        settings = self.configuration.ledger(tenant)
        quotas = settings.quotas or {}
        quota = quotas.get(resource, quotas.get(DEFAULT))
        used = self._active[tenant, resource]
        if quota is not None and quota.max_active is not None and used > quota.max_active:
            return f"ledger/{tenant}"
        if resource not in settings.pools:
            return None
        name = settings.pools[resource]
        pool = self.configuration.pools[name]
        together = sum(self._active[one, resource] for one in self.configuration.members(pool))
        return f"governor/{name}" if together > pool.capacities[resource] else None
