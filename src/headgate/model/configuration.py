"""The contents of ``headgate.yaml``."""

from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from headgate.model.contract import Contract, Name
from headgate.model.ids import DEFAULT
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.model.settings import BreakerSettings, LedgerSettings

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
        depends_on: Downstreams without which this one cannot work: while one of them is open,
            failures of this one are not counted as its own.
    """

    breaker: BreakerPolicy = BreakerPolicy()
    outcomes: OutcomeRules = OutcomeRules()
    depends_on: list[Name] = []


class Tenant(Contract):
    """Who jobs are run for.

    Attributes:
        quotas: What the tenant may take, by resource; ``*`` for every resource not named.
    """

    quotas: Annotated[dict[NameOrDefault, Quota], Field(min_length=1)]


class Pool(Contract):
    """A capacity shared by tenants.

    Attributes:
        resource: What is shared.
        capacity: How many units there are.
        strategy: ``fixed``: the ``max_active`` of the tenants are their parts, and may not add up
            to more than the capacity.
        tenants: Who shares it; each must be listed with a ``max_active`` of the resource.
    """

    resource: Name
    capacity: Annotated[int, Field(ge=0, le=1_000_000_000)]
    strategy: Literal["fixed"] = "fixed"
    tenants: Annotated[list[Name], Field(min_length=1)]


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
        downstreams: Breakers by downstream; ``*`` for every one not listed.
        pools: Capacities shared by tenants.
        tenants: Quotas by tenant; ``*`` for every one not listed. Without it, an unlisted tenant is
            refused.
        notifier: Where alerts go.
    """

    downstreams: Annotated[
        dict[NameOrDefault, Annotated[Downstream, BeforeValidator(_empty_if_null)]],
        BeforeValidator(_empty_if_null),
    ] = {}
    pools: Annotated[dict[Name, Pool], BeforeValidator(_empty_if_null)] = {}
    tenants: Annotated[dict[NameOrDefault, Tenant], BeforeValidator(_empty_if_null)] = {}
    notifier: Annotated[NotifierSettings, BeforeValidator(_empty_if_null)] = NotifierSettings()

    @model_validator(mode="after")
    def _no_circles(self) -> Self:
        for name in sorted(self.downstreams):
            seen, ahead = [name], list(self.downstreams[name].depends_on)
            while ahead:
                other = ahead.pop()
                if other == name:
                    raise ValueError(
                        f"downstreams.{name}: depends on itself, by way of "
                        f"{' and '.join(seen[1:]) or 'its own depends_on'}: break the circle"
                    )
                if other not in seen:
                    seen.append(other)
                    ahead += self.downstreams.get(other, Downstream()).depends_on
        return self

    @model_validator(mode="after")
    def _pools_hold(self) -> Self:
        for name, pool in self.pools.items():
            parts = 0
            for number, tenant in enumerate(pool.tenants):
                if tenant in pool.tenants[:number]:
                    raise _at(f"names {tenant} twice: remove one", "pools", name, "tenants", number)
                quotas = self.tenants[tenant].quotas if tenant in self.tenants else {}
                quota = quotas.get(pool.resource, quotas.get(DEFAULT))
                if quota is None or quota.max_active is None:
                    raise _at(
                        f"tenant {tenant} needs a max_active of {pool.resource}: "
                        f"write it at tenants.{tenant}.quotas.{pool.resource}.max_active",
                        *("pools", name, "tenants", number),
                    )
                parts += quota.max_active
            if parts > pool.capacity:
                raise _at(
                    f"is {pool.capacity}, but its tenants may hold {parts} {pool.resource}: "
                    "lower their max_active or raise the capacity",
                    *("pools", name, "capacity"),
                )
        return self

    def breaker(self, downstream: str) -> BreakerSettings:
        """Return what holds for ``downstream``, listed or not."""
        found = self.downstreams.get(downstream)
        spec = found or self.downstreams.get(DEFAULT, Downstream())
        return BreakerSettings(
            policy=spec.breaker,
            source="default" if found is None else "listed",
            outcomes=spec.outcomes,
            depends_on=sorted(name for name in spec.depends_on if name != downstream),
            dependents=sorted(
                name
                for name, other in self.downstreams.items()
                if downstream in other.depends_on and name not in (DEFAULT, downstream)
            ),
        )

    def ledger(self, tenant: str) -> LedgerSettings:
        """Return what holds for ``tenant``, listed or not."""
        if tenant in self.tenants:
            return LedgerSettings(quotas=self.tenants[tenant].quotas, source="listed")
        if DEFAULT in self.tenants:
            return LedgerSettings(quotas=self.tenants[DEFAULT].quotas, source="default")
        return LedgerSettings(quotas=None, source="none")


def _at(message: str, *path: str | int) -> PydanticCustomError:
    """Return an error of the whole configuration that says where in it the mistake is."""
    return PydanticCustomError("misfit", "{message}", {"message": message, "path": path})
