"""The contents of ``headgate.yaml``."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from headgate.model.alert_rules import AlertChanges, AlertRules
from headgate.model.consistency import (
    calls_have_breakers,
    channels_exist,
    channels_have_owners,
    groups_exist,
    half_open_is_told,
    no_circles,
    pools_follow,
    pools_hold,
    shares_count,
)
from headgate.model.contract import Contract, Name, is_stored
from headgate.model.governed import GovernedCalls
from headgate.model.ids import DEFAULT
from headgate.model.lease import WhenAway, WhenAwayName
from headgate.model.limits import BackpressurePolicy, LimitPolicy, SheddingPolicy
from headgate.model.notifier import NotifierSettings, matches
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import BreakerPolicy
from headgate.model.pool import (
    GUARANTEEING,
    Damping,
    GroupShare,
    PoolSettings,
    Share,
    Strategy,
    StrategyName,
    Units,
)
from headgate.model.quota import PauseReason, Quota
from headgate.model.settings import BreakerSettings, LedgerSettings

_DOMINANT: Final = (Strategy.PROPORTIONAL, Strategy.EQUAL)
NameOrDefault = Annotated[Name | Literal["*"], Field(union_mode="left_to_right")]


def _empty_if_null(value: Any) -> Any:
    """A section of which all is commented out is an empty one."""
    return {} if value is None else value


class Downstream(Contract):
    """A service that jobs call.

    Attributes:
        breaker: When calls to it stop, and how they come back.
        outcomes: Which outcomes of a call count as what, beyond the built-in rules.
        when_away: What gates do when the breaker cannot be reached and its verdict is too old:
            ``fail_static`` goes by it all the same, ``fail_open`` lets calls pass, ``fail_closed``
            refuses them.
        limit: How many calls may be in flight and how many a second may begin; null: as many as
            like.
        depends_on: Downstreams without which this one cannot work: while one of them is open,
            failures of this one are not counted as its own.
        alerts: What differs from the ``alerts`` of all.
    """

    breaker: BreakerPolicy = BreakerPolicy()
    outcomes: OutcomeRules = OutcomeRules()
    when_away: WhenAwayName = WhenAway.FAIL_STATIC
    limit: LimitPolicy | None = None
    depends_on: list[Name] = []
    alerts: Annotated[AlertChanges, BeforeValidator(_empty_if_null)] = AlertChanges()


class Tenant(Contract):
    """Who jobs are run for.

    Attributes:
        quotas: What the tenant may take, by resource; ``*`` for every resource not named.
        group: The group that it is part of.
        paused: Why nothing is granted to it; null: it is not suspended.
        alerts: What differs from the ``alerts`` of all.
    """

    quotas: Annotated[dict[NameOrDefault, Quota], Field(min_length=1)]
    group: Name | None = None
    paused: PauseReason | None = None
    alerts: Annotated[AlertChanges, BeforeValidator(_empty_if_null)] = AlertChanges()

    def quota(self, resource: str) -> Quota | None:
        """Return what holds for a resource, named or not."""
        return self.quotas.get(resource, self.quotas.get(DEFAULT))


class Group(Contract):
    """Tenants, or groups of them, that share a part of a pool.

    Attributes:
        parent: The group that it is part of.
        shares: What its tenants may claim together, by resource; without one the group has a
            weight of 1 and guarantees nothing.
    """

    parent: Name | None = None
    shares: dict[Name, Share] = {}


class Pool(Contract):
    """A capacity shared by tenants.

    Attributes:
        resource: What is shared, when it is one resource.
        capacity: How many units there are; of several resources, by resource.
        strategy: How it is divided; docs/allocation.md. ``fixed``: the ``max_active`` of the
            tenants are their parts, and may not add up to more than the capacity.
        tenants: Who shares it; null: every listed tenant that has a quota of a resource of it.
        follows: The downstream whose adaptive limit, reckoned from the calls of the whole fleet, is
            the capacity when it is lower; for a pool of one resource.
        observe_only: Compute and show, limit nothing.
        damping: How calmly it is divided anew.
        history_half_life_ms: Who used little lately comes first; null: the past does not matter.
        backpressure: When producers are told to slow down, by how much waits and for how long.
        shedding: How much work may wait under pressure before some is refused; null: any.
    """

    resource: Name | None = None
    capacity: Units | Annotated[dict[Name, Units], Field(min_length=1)]
    strategy: StrategyName = Strategy.PROPORTIONAL
    tenants: Annotated[list[Name], Field(min_length=1)] | None = None
    follows: Name | None = None
    observe_only: bool = False
    damping: Damping = Damping()
    history_half_life_ms: Annotated[int, Field(ge=1_000)] | None = None
    backpressure: BackpressurePolicy = BackpressurePolicy()
    shedding: SheddingPolicy | None = None

    @model_validator(mode="after")
    def _names_its_resources(self) -> Self:
        if isinstance(self.capacity, dict):
            if self.resource is not None:
                raise ValueError("has a resource and a capacity by resource: remove resource")
            if len(self.capacity) > 1 and self.strategy not in _DOMINANT:
                names = " or ".join(_DOMINANT)
                raise ValueError(f"several resources are divided with strategy {names}: write one")
        elif self.resource is None:
            raise ValueError("says how much, but not of what: add resource, such as resource: scan")
        return self

    @property
    def capacities(self) -> dict[str, int]:
        """Units by resource."""
        if isinstance(self.capacity, dict):
            return self.capacity
        assert self.resource is not None
        return {self.resource: self.capacity}


class Configuration(Contract):
    """All that one file says.

    Attributes:
        downstreams: Breakers by downstream; ``*`` for every one not listed. Without it, one that is
            not listed has a breaker with the defaults if a worker's code calls it all the same;
            requests that name it are refused.
        groups: Groups of tenants, which may be parts of others.
        pools: Capacities shared by tenants.
        tenants: Quotas by tenant; ``*`` for every one not listed. Without it, an unlisted tenant is
            refused.
        notifier: Where alerts go.
        alerts: When people are told of something.
        activities: Which calls are governed, by activity type, for workers whose code does not say
            so: ``HeadgatePlugin(governed="headgate.yaml")`` reads this part of the file.
    """

    downstreams: Annotated[
        dict[NameOrDefault, Annotated[Downstream, BeforeValidator(_empty_if_null)]],
        BeforeValidator(_empty_if_null),
    ] = {}
    groups: Annotated[
        dict[Name, Annotated[Group, BeforeValidator(_empty_if_null)]],
        BeforeValidator(_empty_if_null),
    ] = {}
    pools: Annotated[dict[Name, Pool], BeforeValidator(_empty_if_null)] = {}
    tenants: Annotated[dict[NameOrDefault, Tenant], BeforeValidator(_empty_if_null)] = {}
    notifier: Annotated[NotifierSettings, BeforeValidator(_empty_if_null)] = NotifierSettings()
    alerts: Annotated[AlertRules, BeforeValidator(_empty_if_null)] = AlertRules()
    activities: Annotated[GovernedCalls, BeforeValidator(_empty_if_null)] = {}

    @model_validator(mode="after")
    def _is_consistent(self, info: ValidationInfo) -> Self:
        no_circles(
            "downstreams",
            "depends_on",
            {name: spec.depends_on for name, spec in self.downstreams.items()},
        )
        no_circles(
            "groups",
            "parent",
            {name: [spec.parent] for name, spec in self.groups.items() if spec.parent},
        )
        groups_exist(self)
        pools_hold(self)
        pools_follow(self)
        calls_have_breakers(self.activities, self.downstreams)
        channels_exist(self)
        if not is_stored(info):
            shares_count(self)
            channels_have_owners(self)
            half_open_is_told(self)
        return self

    def breaker(self, downstream: str) -> BreakerSettings:
        """Return what holds for ``downstream``, listed or not."""
        found = self.downstreams.get(downstream) if downstream != DEFAULT else None
        spec = found or self.downstreams.get(DEFAULT, Downstream())
        return BreakerSettings(
            policy=spec.breaker,
            source="default" if found is None else "listed",
            outcomes=spec.outcomes,
            when_away=spec.when_away,
            limit=spec.limit,
            alerts=spec.alerts.over(self.alerts),
            pools=sorted(name for name, pool in self.pools.items() if pool.follows == downstream),
            depends_on=sorted(name for name in spec.depends_on if name != downstream),
            dependents=sorted(
                name
                for name, other in self.downstreams.items()
                if downstream in other.depends_on and name not in (DEFAULT, downstream)
            ),
        )

    def routes_to_nobody(self) -> list[str]:
        """Return which routes name tenants that are not listed, one line for each.

        They may be right: whoever is not listed has the quotas of ``*``, where there are such.
        """
        listed = {*self.tenants} - {DEFAULT}
        return [
            f"notifier.routes.{number}: no tenant {pattern} is listed under tenants"
            for number, route in enumerate(self.notifier.routes)
            for pattern in route.tenants or []
            if not any(matches(pattern, tenant) for tenant in listed)
        ]

    def ledger(self, tenant: str) -> LedgerSettings:
        """Return what holds for ``tenant``, listed or not."""
        if tenant in self.tenants and tenant != DEFAULT:
            spec = self.tenants[tenant]
            return LedgerSettings(
                quotas=spec.quotas,
                source="listed",
                pools={
                    resource: name
                    for name, pool in sorted(self.pools.items())
                    if self._is_member(tenant, pool)
                    for resource in sorted(pool.capacities)
                },
                group=spec.group,
                paused=spec.paused,
                alerts=spec.alerts.over(self.alerts),
            )
        if DEFAULT in self.tenants:
            spec = self.tenants[DEFAULT]
            return LedgerSettings(
                quotas=spec.quotas,
                source="default",
                paused=spec.paused,
                alerts=spec.alerts.over(self.alerts),
            )
        return LedgerSettings(quotas=None, source="none", alerts=self.alerts)

    def governor(self, pool: str) -> PoolSettings:
        """Return what holds for ``pool``, listed or not."""
        spec = self.pools.get(pool)
        if spec is None:
            return PoolSettings(alerts=self.alerts)
        first = min(spec.capacities)
        tenants = {name: self.tenants[name].group for name in self.members(spec)}
        groups = self._groups_of(tenants.values())
        return PoolSettings(
            capacity=dict(sorted(spec.capacities.items())),
            strategy=spec.strategy,
            tenants=tenants,
            groups={
                name: GroupShare(
                    parent=group.parent, **group.shares.get(first, Share()).model_dump()
                )
                for name, group in sorted(self.groups.items())
                if name in groups
            },
            enforced=not spec.observe_only,
            damping=spec.damping,
            history_half_life_ms=spec.history_half_life_ms,
            source="listed",
            follows=spec.follows,
            backpressure=spec.backpressure,
            shedding=spec.shedding,
            alerts=self.alerts,
            unlent=self._unlent(spec, tenants) if spec.strategy in GUARANTEEING else {},
        )

    def _unlent(self, pool: Pool, tenants: Iterable[str]) -> dict[str, int]:
        """Return what tenants of a pool do not lend of their guarantees."""
        (resource,) = pool.capacities  # several know no guarantees
        quotas = {name: self.tenants[name].quota(resource) for name in tenants}
        return {
            name: quota.guaranteed - quota.lend_limit
            for name, quota in quotas.items()
            if quota is not None
            and quota.guaranteed > (quota.lend_limit or 0)
            and quota.lend_limit is not None
        }

    def _groups_of(self, groups: Iterable[str | None]) -> set[str]:
        """Return these groups, and those above them."""
        found: set[str] = set()
        for name in groups:
            while name is not None and name not in found:
                found.add(name)
                name = self.groups[name].parent
        return found

    def all_rules(self) -> list[AlertRules]:
        """Return the alert rules of all, and those that differ for a downstream or a tenant."""
        changes = [spec.alerts for spec in self.downstreams.values()]
        changes += [spec.alerts for spec in self.tenants.values()]
        return [self.alerts, *(one.over(self.alerts) for one in changes)]

    def members(self, pool: Pool) -> list[str]:
        """Return the tenants of a pool, sorted."""
        if pool.tenants is not None:
            return sorted(pool.tenants)
        return sorted(name for name in self.tenants if self._is_member(name, pool))

    def _is_member(self, tenant: str, pool: Pool) -> bool:
        if pool.tenants is not None:
            return tenant in pool.tenants
        quota = self.tenants[tenant].quota
        return tenant != DEFAULT and any(quota(resource) for resource in pool.capacities)
