"""The metrics of the service: what Postgres has, in Prometheus' text format."""

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from headgate.model.breaker import BreakerState
from headgate.model.limits import PressureLevel
from headgate.store.database import Database
from headgate.store.overview import OverviewStore, PermitCounts
from headgate.version import __version__
from headgate.view import metrics as m
from headgate.view.metrics import Metric
from headgate.view.standing import (
    BreakerStanding,
    PoolStanding,
    ResourceStanding,
    ShareStanding,
    TenantStanding,
)
from headgate.view.status import Status, Verdict

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
MOST_TENANTS: Final = 100
OTHER: Final = "other"
"""The label of all tenants beyond the first. No tenant's: see ``_tenant_label``."""

STATE_CODES: Final = {
    BreakerState.CLOSED: 0,
    BreakerState.RAMP: 1,
    BreakerState.HALF_OPEN: 2,
    BreakerState.OPEN: 3,
    BreakerState.FORCED_OPEN: 4,
    BreakerState.SHADOW: 5,
    BreakerState.FORCED_CLOSED: 6,
}

_Family = GaugeMetricFamily | CounterMetricFamily


async def render(database: Database, now_ms: int, most_tenants: int = MOST_TENANTS) -> bytes:
    """Return all metrics of the service; serve them with ``CONTENT_TYPE``.

    Args:
        database: Migrated; nothing else is asked.
        now_ms: Unix time.
        most_tenants: So many tenants have a label of their own, those that wait and hold the most;
            the others are added up under ``other``.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    store = OverviewStore(database)
    found = _Families()
    status = await store.status(now_ms)
    tenants = await store.tenants(now_ms, order="waiting", limit=most_tenants)
    named = {one.tenant for one in tenants.tenants}
    _of_service(found, status, await store.saved_by_kind_ms())
    _of_breakers(found, await store.breakers(now_ms))
    _of_tenants(found, tenants.tenants, status)
    _of_others(found, await store.resources_without(named))
    _of_permits(found, await store.permits())
    _of_pools(found, await store.pools(), named)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(found)
    return generate_latest(registry)


class _Families(Collector):
    """Samples by metric, in the order of the list."""

    def __init__(self) -> None:
        self._of: dict[str, _Family] = {}
        for metric in m.METRICS:
            if metric.source == "service":
                kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
                self._of[metric.name] = kind(metric.name, metric.help, labels=metric.labels)

    def collect(self) -> Iterable[_Family]:
        return [family for family in self._of.values() if family.samples]

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        assert len(labels) == len(metric.labels)
        self._of[metric.name].add_metric(labels, value)


def _of_service(found: _Families, status: Status, saved_ms: dict[str, int]) -> None:
    found.add(m.BUILD_INFO, 1, __version__)
    for verdict in Verdict:
        found.add(m.VERDICT, verdict is status.verdict, verdict.value)
    for severity in ("critical", "warning", "notice"):
        count = sum(one.severity == severity for one in status.attention)
        found.add(m.ATTENTION, count, severity)
    if status.worker_seen_ms is not None:
        found.add(m.WORKER_AGE, _seconds(status.at_ms - status.worker_seen_ms))
    for kind, saved_at_ms in sorted(saved_ms.items()):
        found.add(m.SNAPSHOT_AGE, _seconds(status.at_ms - saved_at_ms), kind)


def _of_breakers(found: _Families, breakers: Sequence[BreakerStanding]) -> None:
    for one in breakers:
        for state in BreakerState:
            found.add(m.BREAKER_STATE, one.state is state, one.downstream, state.value)
        found.add(m.BREAKER_CODE, STATE_CODES[one.state], one.downstream)
        found.add(m.BREAKER_MARGIN, one.margin.share, one.downstream)
        if one.calls:
            found.add(m.BREAKER_FAILURES, one.failures / one.calls, one.downstream)
        found.add(m.BREAKER_WINDOW, one.calls, one.downstream)
        if one.limit is not None:
            found.add(m.BREAKER_LIMIT, one.limit, one.downstream)
        for outcome, count in (
            ("success", one.total_successes),
            ("failure", one.total_failures),
            ("ignored", one.total_ignored),
            ("rejected", one.rejected),
        ):
            found.add(m.BREAKER_CALLS, count, one.downstream, outcome)


def _of_tenants(found: _Families, tenants: Sequence[TenantStanding], status: Status) -> None:
    found.add(m.TENANTS, status.totals.tenants)
    found.add(m.TENANTS_WAITING, status.totals.waiting_tenants)
    for tenant in tenants:
        for one in tenant.resources:
            _of_resource(found, one, _tenant_label(tenant.tenant))


def _of_others(found: _Families, others: Sequence[ResourceStanding]) -> None:
    for one in others:
        _of_resource(found, one, OTHER)


def _of_resource(found: _Families, one: ResourceStanding, tenant: str) -> None:
    found.add(m.TENANT_USED, one.used, tenant, one.resource)
    found.add(m.TENANT_LEASED, one.leased, tenant, one.resource)
    found.add(m.TENANT_BORROWED, one.borrowed, tenant, one.resource)
    if one.room is not None:
        found.add(m.TENANT_ROOM, one.room, tenant, one.resource)
    found.add(m.TENANT_WAITING, one.waiting, tenant, one.resource)


def _of_permits(found: _Families, counts: Sequence[PermitCounts]) -> None:
    for one in counts:
        for event in ("granted", "denied", "released", "expired", "reclaimed"):
            found.add(m.PERMITS, getattr(one, event), one.resource, event)


def _of_pools(found: _Families, pools: Sequence[PoolStanding], named: set[str]) -> None:
    for pool in pools:
        for resource, capacity in pool.capacity.items():
            found.add(m.POOL_CAPACITY, capacity, pool.pool, resource)
            found.add(m.POOL_HELD, pool.held[resource], pool.pool, resource)
            found.add(m.POOL_ALLOCATED, pool.allocated[resource], pool.pool, resource)
            found.add(m.POOL_WANTED, pool.wanted[resource], pool.pool, resource)
        found.add(m.POOL_WAITING, pool.waiting, pool.pool)
        level = list(PressureLevel).index(pool.pressure)
        found.add(m.POOL_PRESSURE, level, pool.pool)
        for tenant, resource, one in _shares(pool.shares, named):
            found.add(m.SHARE_ALLOCATED, one[0], pool.pool, resource, tenant)
            found.add(m.SHARE_GUARANTEED, one[1], pool.pool, resource, tenant)
            found.add(m.SHARE_WANTED, one[2], pool.pool, resource, tenant)


def _shares(
    shares: Sequence[ShareStanding], named: set[str]
) -> list[tuple[str, str, tuple[int, int, int]]]:
    """Return (tenant, resource, what it has been given, is guaranteed and wants)."""
    sums: dict[tuple[str, str], tuple[int, int, int]] = {}
    for one in shares:
        label = _tenant_label(one.tenant) if one.tenant in named else OTHER
        allocated, guaranteed, wanted = sums.get((label, one.resource), (0, 0, 0))
        sums[label, one.resource] = (
            allocated + one.allocated,
            guaranteed + one.guaranteed,
            wanted + one.wanted,
        )
    return [(tenant, resource, sums[tenant, resource]) for tenant, resource in sorted(sums)]


def _tenant_label(tenant: str) -> str:
    """Return a tenant's label; one that is called as the rest is told from it."""
    return f"{tenant}@" if tenant == OTHER else tenant


def _seconds(ms: int) -> float:
    return max(0, ms) / 1_000
