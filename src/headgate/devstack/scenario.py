"""What the demo plays: who submits which jobs, and what governs them."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.applications import Starlette

from headgate.devstack.downstreams import SERVICES, recorded, scheduled
from headgate.devstack.jobs import Job
from headgate.devstack.observer import Observer
from headgate.devstack.trace import RecordedCall
from headgate.model.configuration import Configuration

_NOTIFIER: Final = "ops"


class Scenario(Protocol):
    """A workload with its downstreams and its configuration."""

    def configuration(self, webhook: str, secret_env: str) -> Configuration:
        """Return what governs it."""

    def apps(self, observer: Observer) -> dict[str, Starlette]:
        """Return the HTTP services to start, by name."""

    def jobs(self, addresses: dict[str, str]) -> AsyncIterator[Job]:
        """Yield each job when it is to be submitted; ``addresses`` are those of the services."""


@dataclass(frozen=True, slots=True)
class _Demand:
    """What one tenant submits.

    Attributes:
        tenant: Who.
        per_second: Jobs a second for each service.
        max_wait_ms: How long its jobs wait.
        surge: In this part of every ``_SURGE_CYCLE_S`` it submits ``_SURGE`` scans a second more.
    """

    tenant: str
    per_second: dict[str, float]
    max_wait_ms: int
    surge: tuple[float, float] | None = None

    def rate(self, service: str, now_s: float) -> float:
        """Return how many jobs a second it submits for ``service``."""
        base = self.per_second[service]
        if service != _SURGES or self.surge is None:
            return base
        begin_s, end_s = self.surge
        return base + (_SURGE if begin_s <= now_s % _SURGE_CYCLE_S < end_s else 0.0)


_SURGES: Final = "scanner"
_SURGE: Final = 4.0
_SURGE_CYCLE_S: Final = 24.0
_DEMANDS: Final = (
    # The surges overlap in part: alone, a tenant borrows; together, each has its guarantee.
    _Demand("acme", {"scanner": 0.7, "attestor": 1.0, "policy-engine": 1.0}, 8_000, surge=(11, 21)),
    _Demand(
        "globex", {"scanner": 0.3, "attestor": 1.5, "policy-engine": 1.0}, 8_000, surge=(16, 24)
    ),
    _Demand("initech", {"scanner": 0.7, "attestor": 0.5, "policy-engine": 0.5}, 1_000),
    _Demand("hooli", {"scanner": 0.5, "attestor": 0.5, "policy-engine": 1.5}, 0),
)


class Scheduled:
    """Four tenants, three downstreams that fail on schedule. ``hooli`` is not listed anywhere.

    ``acme`` and ``globex`` share the slots of the scanner: each borrows what the other leaves idle.
    """

    def configuration(self, webhook: str, secret_env: str) -> Configuration:
        """See base class."""
        breaker = {
            "window": {"kind": "time", "seconds": 10},
            "min_calls": 8,
            "failure_rate": 0.5,
            "consecutive_failures": 5,
            "open_ms": 2_500,
            "probes": 2,
            "probe_deadline_ms": 3_000,
            "half_open_max_ms": 10_000,
            "ramp_ms": 2_000,
            "ramp_start": 0.2,
        }
        return _configuration(
            webhook,
            secret_env,
            downstreams={service.name: {"breaker": breaker} for service in SERVICES},
            pools={
                "scanner-slots": {
                    "resource": "scan",
                    "capacity": 4,
                    "strategy": "reserved",
                    "tenants": ["acme", "globex"],
                    "damping": {"round_ms": 100, "min_hold_ms": 500, "demand_half_life_ms": 1_000},
                }
            },
            tenants={
                "acme": {"quotas": {"scan": {"guaranteed": 2}, "*": {"max_active": 4}}},
                "globex": {"quotas": {"scan": {"guaranteed": 2}, "*": {"max_active": 3}}},
                "initech": {"quotas": {"*": {"max_active": 2, "rate": "2/s", "burst": 4}}},
                "*": {"quotas": {"*": {"max_active": 2}}},
            },
        )

    def apps(self, observer: Observer) -> dict[str, Starlette]:
        """See base class."""
        return {service.name: scheduled(service, observer) for service in SERVICES}

    async def jobs(self, addresses: dict[str, str]) -> AsyncIterator[Job]:
        """See base class; arrivals are a Poisson process, the same in every run."""
        resources = {service.name: service.resource for service in SERVICES}
        sources = [(demand, name) for demand in _DEMANDS for name in demand.per_second]
        chance = random.Random(20261123)
        loop = asyncio.get_running_loop()
        began_s = due_s = loop.time()
        most = sum(d.per_second[name] for d, name in sources) + _SURGE * len(_DEMANDS)
        while True:
            due_s += chance.expovariate(most)
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            rates = [demand.rate(name, due_s - began_s) for demand, name in sources]
            # The rates change with time: of the arrivals at the highest rate, some do not happen.
            if chance.random() * most >= sum(rates):
                continue
            demand, name = chance.choices(sources, rates)[0]
            yield Job(
                tenant=demand.tenant,
                resource=resources[name],
                downstream=name,
                url=addresses[name],
                max_wait_ms=demand.max_wait_ms,
            )


class Recorded:
    """A trace, played ``speed`` times as fast; nobody in it is listed by name.

    Args:
        calls: In the order of time.
        begin_ms: The time of the trace at which to begin, Unix milliseconds.
        speed: How many times as fast.
    """

    def __init__(self, calls: Sequence[RecordedCall], begin_ms: int, speed: float) -> None:
        self._calls = calls
        self._begin_ms = begin_ms
        self._speed = speed

    def configuration(self, webhook: str, secret_env: str) -> Configuration:
        """See base class."""
        return _configuration(
            webhook,
            secret_env,
            downstreams={"*": {"breaker": {"consecutive_failures": 5}}},
            tenants={"*": {"quotas": {"*": {"max_active": 10}}}},
        )

    def apps(self, observer: Observer) -> dict[str, Starlette]:
        """See base class."""
        return {"trace": recorded(self._calls, self._speed, observer)}

    async def jobs(self, addresses: dict[str, str]) -> AsyncIterator[Job]:
        """See base class; ends with the trace."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, call in enumerate(self._calls):
            due_s = began_s + (call.at_ms - self._begin_ms) / 1000 / self._speed
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            yield Job(
                tenant=call.tenant,
                resource=call.job_type,
                downstream=call.downstream,
                url=f"{addresses['trace']}/{call.downstream}",
                max_wait_ms=10_000,
                call=number,
            )


def _configuration(
    webhook: str,
    secret_env: str,
    downstreams: dict[str, Any],
    tenants: dict[str, Any],
    pools: dict[str, Any] | None = None,
) -> Configuration:
    channel = {"kind": "webhook", "url": webhook, "secret_env": secret_env}
    return Configuration.model_validate(
        {
            "downstreams": downstreams,
            "pools": pools or {},
            "tenants": tenants,
            # At once, however many come: the demo is soon over.
            "notifier": {"channels": {_NOTIFIER: channel}, "group_wait_ms": 0},
        }
    )
