"""The one list of Headgate's metrics; board, alert rules and documentation are made from it."""

from dataclasses import dataclass
from typing import Final, Literal

MetricType = Literal["counter", "gauge", "histogram"]
Source = Literal["service", "worker", "job"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: As it is exported.
        type: counter, gauge or histogram.
        help: In a sentence.
        labels: Beyond those that Prometheus and Temporal add.
        unit: Of its values; empty: a number of things.
        source: Who exports it: ``service``: ``headgate metrics`` and the API, from Postgres;
            ``worker``: the gates and activities in workers; ``job``: ``permit()`` in job workflows,
            not counted again in a replay. The latter two by Temporal's runtime.
        buckets: Upper bounds of a histogram.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    source: Source = "service"
    buckets: tuple[float, ...] = ()


def _gauge(name: str, help: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name, "gauge", help, labels, unit)


def _counter(name: str, help: str, *labels: str, source: Source = "service") -> Metric:
    return Metric(name, "counter", help, labels, "", source)


def _histogram(
    name: str, help: str, *labels: str, source: Source, buckets: tuple[float, ...]
) -> Metric:
    return Metric(name, "histogram", help, labels, "seconds", source, buckets)


_SHORT: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)

BUILD_INFO: Final = _gauge("headgate_build_info", "Always 1; the version is its label.", "version")
VERDICT: Final = _gauge(
    "headgate_verdict", "1 for what headgate status says: flowing, blocked or stale.", "verdict"
)
ATTENTION: Final = _gauge(
    "headgate_attention_items", "Things that need attention, see headgate status.", "severity"
)
WORKER_AGE: Final = _gauge(
    "headgate_worker_seen_age_seconds",
    "Seconds since a governance worker last said that it runs.",
    unit="seconds",
)
SNAPSHOT_AGE: Final = _gauge(
    "headgate_snapshot_age_seconds",
    "Seconds since any workflow of a kind last saved a change; high while nothing changes.",
    "kind",
    unit="seconds",
)
BREAKER_STATE: Final = _gauge(
    "headgate_breaker_state", "1 for the state that a breaker is in.", "downstream", "state"
)
BREAKER_CODE: Final = _gauge(
    "headgate_breaker_state_code",
    "The state as a number: 0 CLOSED, 1 RAMP, 2 HALF_OPEN, 3 OPEN, 4 FORCED_OPEN, 5 SHADOW, "
    "6 FORCED_CLOSED.",
    "downstream",
)
BREAKER_MARGIN: Final = _gauge(
    "headgate_breaker_margin_ratio",
    "What is left of the way to opening: 1 nothing is wrong, 0 it opens or is open.",
    "downstream",
    unit="ratio",
)
BREAKER_FAILURES: Final = _gauge(
    "headgate_breaker_failure_ratio",
    "Of the calls in the window, those that failed.",
    "downstream",
    unit="ratio",
)
BREAKER_WINDOW: Final = _gauge(
    "headgate_breaker_window_calls", "Calls in the window.", "downstream"
)
BREAKER_LIMIT: Final = _gauge(
    "headgate_breaker_limit_calls",
    "Calls of the whole fleet that may be in flight; not there without a limit.",
    "downstream",
)
BREAKER_CALLS: Final = _counter(
    "headgate_breaker_calls_total",
    "Calls that the fleet has reported, by outcome: success, failure, ignored or rejected.",
    "downstream",
    "outcome",
)
TENANT_USED: Final = _gauge(
    "headgate_tenant_used_units", "Units held by jobs and calls.", "tenant", "resource"
)
TENANT_LEASED: Final = _gauge(
    "headgate_tenant_leased_units",
    "Units in blocks of gates, used by nothing.",
    "tenant",
    "resource",
)
TENANT_BORROWED: Final = _gauge(
    "headgate_tenant_borrowed_units", "Units held above the guarantee.", "tenant", "resource"
)
TENANT_ROOM: Final = _gauge(
    "headgate_tenant_room_units",
    "Units that may be held; not there without a limit.",
    "tenant",
    "resource",
)
TENANT_WAITING: Final = _gauge(
    "headgate_tenant_waiting_requests", "Requests in line.", "tenant", "resource"
)
TENANTS: Final = _gauge("headgate_tenants", "Tenants with a ledger.")
TENANTS_WAITING: Final = _gauge("headgate_tenants_waiting", "Tenants with requests in line.")
PERMITS: Final = _counter(
    "headgate_permits_total",
    "Permits of all tenants since their ledgers began: granted, denied, released, expired or "
    "reclaimed.",
    "resource",
    "event",
)
POOL_CAPACITY: Final = _gauge(
    "headgate_pool_capacity_units", "Units that a pool has now.", "pool", "resource"
)
POOL_HELD: Final = _gauge(
    "headgate_pool_held_units", "Units held, as ledgers last told.", "pool", "resource"
)
POOL_ALLOCATED: Final = _gauge(
    "headgate_pool_allocated_units", "Units given out to tenants.", "pool", "resource"
)
POOL_WANTED: Final = _gauge(
    "headgate_pool_wanted_units", "Units held and waited for.", "pool", "resource"
)
POOL_WAITING: Final = _gauge(
    "headgate_pool_waiting_requests", "Requests in line for a pool.", "pool"
)
POOL_PRESSURE: Final = _gauge(
    "headgate_pool_pressure_level",
    "0 normal, 1 elevated, 2 saturated, 3 emergency.",
    "pool",
)
SHARE_ALLOCATED: Final = _gauge(
    "headgate_pool_tenant_allocated_units",
    "Units that a pool gives a tenant.",
    "pool",
    "resource",
    "tenant",
)
SHARE_GUARANTEED: Final = _gauge(
    "headgate_pool_tenant_guaranteed_units",
    "Units that a tenant has whenever it wants them.",
    "pool",
    "resource",
    "tenant",
)
SHARE_WANTED: Final = _gauge(
    "headgate_pool_tenant_wanted_units",
    "Units that a tenant holds and waits for.",
    "pool",
    "resource",
    "tenant",
)

CALLS: Final = _counter(
    "headgate_calls_total",
    "Governed calls of this process by outcome: success, failure, ignored or rejected; counted "
    "when they are reported.",
    "downstream",
    "outcome",
    source="worker",
)
CALLS_DENIED: Final = _counter(
    "headgate_calls_denied_total",
    "Governed calls that were held back and left to Temporal's retry, by reason.",
    "downstream",
    "reason",
    source="worker",
)
UNGOVERNED: Final = _counter(
    "headgate_ungoverned_calls_total",
    "Calls, and permits out of blocks, that passed although their ledger could not be asked "
    "(when_away: fail_open).",
    "resource",
    source="worker",
)
CALL_WAIT: Final = _histogram(
    "headgate_call_wait_seconds",
    "How long governed calls waited for admission; those let pass at once are not counted.",
    "downstream",
    source="worker",
    buckets=_SHORT,
)
DECISIONS: Final = _counter(
    "headgate_decisions_total",
    "Answers to jobs that asked for a permit: granted, waiting or denied, by reason.",
    "resource",
    "decision",
    "reason",
    source="worker",
)
ADMISSION: Final = _histogram(
    "headgate_admission_seconds",
    "How long the answer to a job that asked for a permit took.",
    "resource",
    source="worker",
    buckets=_SHORT,
)
TRIP_DELAY: Final = _histogram(
    "headgate_trip_delay_seconds",
    "From the opening of a breaker, by its workflow's clock, until a gate has heard of it.",
    "downstream",
    source="worker",
    buckets=_SHORT,
)
SNAPSHOT_LAG: Final = _histogram(
    "headgate_snapshot_lag_seconds",
    "From the making of a snapshot, by its workflow's clock, until Postgres has it.",
    "kind",
    source="worker",
    buckets=_SHORT,
)
JOB_WAIT: Final = _histogram(
    "headgate_permit_wait_seconds",
    "How long jobs waited for a permit, by how that ended: granted, denied or given up.",
    "resource",
    "decision",
    source="job",
    buckets=_LONG,
)

METRICS: Final[tuple[Metric, ...]] = tuple(
    value for value in dict(globals()).values() if isinstance(value, Metric)
)
"""All of them."""

BUCKETS: Final[dict[str, tuple[float, ...]]] = {
    metric.name: metric.buckets for metric in METRICS if metric.buckets
}
"""For ``PrometheusConfig(histogram_bucket_overrides=...)``: Temporal's own are for milliseconds."""
