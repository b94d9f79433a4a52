"""The contents of ``headgate.yaml``."""

from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from headgate.model.consistency import (
    calls_have_breakers,
    groups_exist,
    no_circles,
    pools_follow,
    pools_hold,
)
from headgate.model.contract import Contract, Name
from headgate.model.governed import GovernedCalls
from headgate.model.ids import DEFAULT
from headgate.model.lease import WhenAway, WhenAwayName
from headgate.model.limits import BackpressurePolicy, LimitPolicy, SheddingPolicy
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import BreakerPolicy
from headgate.model.pool import (
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


_NO_URL: Final = "is not an address: write it like https://host.example/path"


def _empty_if_null(value: Any) -> Any:
    """A section of which all is commented out is an empty one."""
    return {} if value is None else value


def _webhook_url(url: str) -> str:
    """Check an address. No message repeats it: many webhooks have a secret in their path."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_NO_URL) from None
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in ' "<>\\^`{|}'):
        raise ValueError(f"{_NO_URL}; other signs as %20 and the like")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(_NO_URL)
    if "@" in parts.netloc:
        raise ValueError("has credentials in it, which would not be kept secret: remove them")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("goes over http to another machine: write https")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _variable_name(name: str) -> str:
    """Check the name of a variable. No message repeats it: it may be the secret itself."""
    if name.startswith("whsec_"):
        raise ValueError(
            "looks like the secret itself: put that into a variable of the governance worker's "
            "environment, and write the variable's name here, such as HEADGATE_WEBHOOK_SECRET"
        )
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[:1].isdigit()
    if not plain or len(name) > 200:
        raise ValueError(
            "is not the name of an environment variable: write one such as HEADGATE_WEBHOOK_SECRET"
        )
    return name


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
    """

    breaker: BreakerPolicy = BreakerPolicy()
    outcomes: OutcomeRules = OutcomeRules()
    when_away: WhenAwayName = WhenAway.FAIL_STATIC
    limit: LimitPolicy | None = None
    depends_on: list[Name] = []


class Tenant(Contract):
    """Who jobs are run for.

    Attributes:
        quotas: What the tenant may take, by resource; ``*`` for every resource not named.
        group: The group that it is part of.
        paused: Why nothing is granted to it; null: it is not suspended.
    """

    quotas: Annotated[dict[NameOrDefault, Quota], Field(min_length=1)]
    group: Name | None = None
    paused: PauseReason | None = None

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


class WebhookChannel(Contract):
    """A webhook that receives alerts, signed after Standard Webhooks.

    Attributes:
        kind: ``webhook``.
        url: Where to; https, or http on loopback.
        secret_env: The environment variable of the governance worker that holds the secret
            (``whsec_...``). The secret itself never stands in the file.
    """

    kind: Literal["webhook"] = "webhook"
    url: Annotated[str, AfterValidator(_webhook_url)]
    secret_env: Annotated[str, AfterValidator(_variable_name)]

    @property
    def host(self) -> str:
        """The part of ``url`` that may be shown: scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class NotifierSettings(Contract):
    """Where alerts go.

    Attributes:
        channels: By name.
    """

    channels: Annotated[dict[Name, WebhookChannel], BeforeValidator(_empty_if_null)] = {}


class Configuration(Contract):
    """All that one file says.

    Attributes:
        downstreams: Breakers by downstream; ``*`` for every one not listed. Without it, one that is
            not listed has a breaker with the defaults.
        groups: Groups of tenants, which may be parts of others.
        pools: Capacities shared by tenants.
        tenants: Quotas by tenant; ``*`` for every one not listed. Without it, an unlisted tenant is
            refused.
        notifier: Where alerts go.
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
    activities: Annotated[GovernedCalls, BeforeValidator(_empty_if_null)] = {}

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
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
        calls_have_breakers(self)
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
            pools=sorted(name for name, pool in self.pools.items() if pool.follows == downstream),
            depends_on=sorted(name for name in spec.depends_on if name != downstream),
            dependents=sorted(
                name
                for name, other in self.downstreams.items()
                if downstream in other.depends_on and name not in (DEFAULT, downstream)
            ),
        )

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
                    if tenant in self.members(pool)
                    for resource in sorted(pool.capacities)
                },
                group=spec.group,
                paused=spec.paused,
            )
        if DEFAULT in self.tenants:
            spec = self.tenants[DEFAULT]
            return LedgerSettings(quotas=spec.quotas, source="default", paused=spec.paused)
        return LedgerSettings(quotas=None, source="none")

    def governor(self, pool: str) -> PoolSettings:
        """Return what holds for ``pool``, listed or not."""
        spec = self.pools.get(pool)
        if spec is None:
            return PoolSettings()
        first = min(spec.capacities)
        return PoolSettings(
            capacity=dict(sorted(spec.capacities.items())),
            strategy=spec.strategy,
            tenants={name: self.tenants[name].group for name in self.members(spec)},
            groups={
                name: GroupShare(
                    parent=group.parent, **group.shares.get(first, Share()).model_dump()
                )
                for name, group in sorted(self.groups.items())
            },
            enforced=not spec.observe_only,
            damping=spec.damping,
            history_half_life_ms=spec.history_half_life_ms,
            source="listed",
            follows=spec.follows,
            backpressure=spec.backpressure,
            shedding=spec.shedding,
        )

    def members(self, pool: Pool) -> list[str]:
        """Return the tenants of a pool, sorted."""
        if pool.tenants is not None:
            return sorted(pool.tenants)
        return sorted(
            name
            for name, tenant in self.tenants.items()
            if name != DEFAULT and any(tenant.quota(resource) for resource in pool.capacities)
        )
