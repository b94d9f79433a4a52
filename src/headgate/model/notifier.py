"""Where alerts go: channels, routes, and how many at once."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from headgate.model.alert import Alert, Severity
from headgate.model.alert_kinds import KINDS
from headgate.model.channels import Channel, checked_url
from headgate.model.contract import Contract, Name, is_stored

_KIND: Final = re.compile(r"([a-z_]+(\.[a-z_]+)*(\.?\*)?|\*)")


def _kind_pattern(text: str) -> str:
    if len(text) > 100 or _KIND.fullmatch(text) is None:
        raise ValueError(
            "is no kind of alert: write one such as breaker.opened, or quota.* for all of quota"
        )
    return text


_KIND_SCHEMA: Final = {"pattern": f"^({_KIND.pattern})$", "minLength": 1, "maxLength": 100}

KindPattern = Annotated[
    str, AfterValidator(_kind_pattern), Field(json_schema_extra={**_KIND_SCHEMA})
]
"""The kind of an alert, such as ``breaker.opened``, or how it begins: ``breaker.*``."""


def _known_kind(pattern: str, info: ValidationInfo) -> str:
    if is_stored(info) or any(matches(pattern, kind) for kind in KINDS):
        return pattern
    alike = [kind for kind in KINDS if kind.partition(".")[0] == pattern.partition(".")[0]]
    known = alike or sorted({f"{kind.partition('.')[0]}.*" for kind in KINDS})
    raise ValueError(f"{pattern} is no kind of alert (there is: {', '.join(known)})")


KnownKinds = Annotated[
    str,
    AfterValidator(_kind_pattern),
    AfterValidator(_known_kind),
    Field(json_schema_extra={**_KIND_SCHEMA}),
]
"""Likewise, and there are alerts that it fits."""

Pattern = Annotated[str, Field(min_length=1, max_length=250)]
"""A name, or how it begins: ``acme-*``."""

OF_QUOTAS: Final = ("quota.*", "guarantee.*", "permits.*", "override.*", "throttle.*")
"""The kinds of alerts that are a tenant's own affair; the others are the operators'."""


def matches(pattern: str | None, value: str) -> bool:
    """Return whether a pattern (a name, or how it begins with ``*`` at its end) fits; None: any."""
    if pattern is None:
        return True
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def tenant_of(alert: Alert) -> str | None:
    """Return whose an alert is; those of earlier versions say so in their numbers only."""
    told = alert.data.get("tenant")
    return alert.tenant or (told if isinstance(told, str) else None)


def is_of_quotas(kind: str) -> bool:
    """Return whether alerts of a kind are a tenant's own affair."""
    return any(matches(pattern, kind) for pattern in OF_QUOTAS)


class Route(Contract):
    """Which alerts go to which channels; what is not named does not matter.

    Attributes:
        kinds: Such as ``[breaker.*]``.
        severities: Such as ``[critical]``.
        tenants: Whose; ``acme-*`` for all that begin so.
        channels: Where to.
    """

    kinds: Annotated[list[KnownKinds], Field(min_length=1)] | None = None
    severities: Annotated[list[Severity], Field(min_length=1)] | None = None
    tenants: Annotated[list[Pattern], Field(min_length=1)] | None = None
    channels: Annotated[list[Name], Field(min_length=1)]

    def takes(self, alert: Alert) -> bool:
        """Return whether an alert goes this way."""
        tenant = tenant_of(alert)
        return (
            (self.kinds is None or any(matches(kind, alert.kind) for kind in self.kinds))
            and (self.severities is None or alert.severity in self.severities)
            and (
                self.tenants is None
                or (tenant is not None and any(matches(name, tenant) for name in self.tenants))
            )
        )


def _empty_if_null(value: Any) -> Any:
    """A section of which all is commented out is an empty one."""
    return {} if value is None else value


def _webhook_if_unsaid(value: Any) -> Any:
    """A channel that does not say its kind is a webhook."""
    return {"kind": "webhook", **value} if isinstance(value, dict) else value


def _address(url: str | None) -> str | None:
    return None if url is None else checked_url(url, allow_http=True).rstrip("/")


Link = Annotated[str, BeforeValidator(_address)]
AnyChannel = Annotated[
    Annotated[Channel, Field(discriminator="kind")], BeforeValidator(_webhook_if_unsaid)
]


class NotifierSettings(Contract):
    """Where alerts go.

    Attributes:
        channels: By name.
        routes: Which alerts go where: to the channels of every route that takes them.
        default: Where those go that no route takes; null: to all channels that are not a tenant's.
        group_over: So many alerts of one kind about tenants are told of one by one; more, that come
            at the same time, in one message.
        group_wait_ms: How long an alert about a tenant waits for others of its kind.
        group_interval_ms: How long after such a message the next one follows.
        failing_after_ms: How long a channel may fail before another one tells of it.
        dashboard_url: Of the dashboard; links to it stand in the messages.
        temporal_ui_url: Of the Temporal UI, for links to the workflow that decided.
        temporal_namespace: In which these workflows are.
    """

    channels: Annotated[dict[Name, AnyChannel], BeforeValidator(_empty_if_null)] = {}
    routes: list[Route] = []
    default: list[Name] | None = None
    group_over: Annotated[int, Field(ge=1, le=100)] = 5
    group_wait_ms: Annotated[int, Field(ge=0, le=600_000)] = 5_000
    group_interval_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 60_000
    failing_after_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 300_000
    dashboard_url: Link | None = None
    temporal_ui_url: Link | None = None
    temporal_namespace: str = "default"

    def channels_for(self, alert: Alert) -> list[str]:
        """Return the channels that an alert goes to, sorted."""
        tenant = tenant_of(alert) if is_of_quotas(alert.kind) else None
        shared = [name for name, channel in self.channels.items() if channel.tenant is None]
        taken = [route for route in self.routes if route.takes(alert)]
        if taken:
            found = {name for route in taken for name in route.channels}
        else:
            found = {*shared} if self.default is None else {*self.default}
        return sorted(found | ({*self.channels_of(tenant)} if tenant is not None else set()))

    def channels_of(self, tenant: str) -> list[str]:
        """Return the channels that are a tenant's own, sorted."""
        return sorted(name for name, one in self.channels.items() if one.tenant == tenant)

    def tenants_with_channels(self) -> list[str]:
        """Return the tenants that have channels of their own, sorted."""
        return sorted({one.tenant for one in self.channels.values() if one.tenant is not None})
