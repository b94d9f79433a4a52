"""What must fit together in a configuration; each mistake is named with its place in the file."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from headgate.model.ids import DEFAULT
from headgate.model.pool import WEIGHING, Strategy

if TYPE_CHECKING:
    from headgate.model.configuration import Configuration, Pool
    from headgate.model.governed import GovernedCalls


def no_circles(section: str, field: str, ahead_of: Mapping[str, Sequence[str]]) -> None:
    """Refuse names that lead back to themselves.

    Raises:
        PydanticCustomError: One does.
    """
    for name in sorted(ahead_of):
        seen, ahead = [name], list(ahead_of[name])
        while ahead:
            other = ahead.pop()
            if other == name:
                way = " and ".join(seen[1:]) or f"its own {field}"
                raise at(f"depends on itself, by way of {way}: break the circle", section, name)
            if other not in seen:
                seen.append(other)
                ahead += ahead_of.get(other, ())


def groups_exist(configuration: "Configuration") -> None:
    """Refuse a group that is named but not listed.

    Raises:
        PydanticCustomError: There is one.
    """
    groups = configuration.groups
    known = ", ".join(sorted(groups)) or "none"
    for name, tenant in configuration.tenants.items():
        if tenant.group is not None and tenant.group not in groups:
            raise at(
                f"{tenant.group} is no group (there is: {known}): list it under groups",
                *("tenants", name, "group"),
            )
    for name, group in groups.items():
        if group.parent is not None and group.parent not in groups:
            raise at(
                f"{group.parent} is no group (there is: {known}): list it under groups",
                *("groups", name, "parent"),
            )


def pools_hold(configuration: "Configuration") -> None:
    """Refuse a pool whose tenants do not fit it.

    Raises:
        PydanticCustomError: There is one.
    """
    pool_of: dict[tuple[str, str], str] = {}
    for name, pool in sorted(configuration.pools.items()):
        for number, tenant in enumerate(pool.tenants or ()):
            if tenant in (pool.tenants or ())[:number]:
                raise at(f"names {tenant} twice: remove one", "pools", name, "tenants", number)
            for resource in pool.capacities:
                spec = configuration.tenants.get(tenant)
                if spec is None or spec.quota(resource) is None:
                    raise at(
                        f"tenant {tenant} has no quota of {resource}: "
                        f"write one at tenants.{tenant}.quotas.{resource}",
                        *("pools", name, "tenants", number),
                    )
        for tenant in configuration.members(pool):
            for resource in pool.capacities:
                other = pool_of.setdefault((tenant, resource), name)
                if other != name:
                    raise at(
                        f"shares {resource} between tenants of which {tenant} has it from pool "
                        f"{other}: name the tenants of each pool, none in both",
                        *("pools", name),
                    )
        _parts_fit(configuration, name, pool)


def _parts_fit(configuration: "Configuration", name: str, pool: "Pool") -> None:
    parts = 0
    for tenant in configuration.members(pool):
        for resource, capacity in pool.capacities.items():
            quota = configuration.tenants[tenant].quota(resource)
            if quota is None:
                continue
            if quota.guaranteed > capacity:
                raise _too_much(configuration, tenant, resource, quota.guaranteed, name, capacity)
            if pool.strategy is Strategy.FIXED:
                if quota.max_active is None:
                    raise at(
                        f"tenant {tenant} needs a max_active of {resource}: "
                        f"write it at tenants.{tenant}.quotas.{resource}.max_active",
                        *("pools", name, "tenants"),
                    )
                parts += quota.max_active
    capacity = sum(pool.capacities.values())
    if pool.strategy is Strategy.FIXED and parts > capacity:
        what = pool.resource or min(pool.capacities)
        raise at(
            f"is {capacity}, but its tenants may hold {parts} {what}: "
            "lower their max_active or raise the capacity",
            *("pools", name, "capacity"),
        )


def _too_much(
    configuration: "Configuration",
    tenant: str,
    resource: str,
    guaranteed: int,
    pool: str,
    capacity: int,
) -> PydanticCustomError:
    return at(
        f"guarantees {guaranteed}, but pool {pool} has {capacity} {resource}: "
        "lower the guarantee or raise the capacity",
        *_quota_path(configuration, tenant, resource),
    )


def _quota_path(configuration: "Configuration", tenant: str, resource: str) -> tuple[str, ...]:
    path = ("tenants", tenant, "quotas", resource)
    return path if resource in configuration.tenants[tenant].quotas else path[:3]


def shares_count(configuration: "Configuration") -> None:
    """Refuse shares that no pool would ever look at.

    Not of what was applied before: it does no harm, and has to be read to be mended.

    Raises:
        PydanticCustomError: There is one.
    """
    shared = sorted({one for pool in configuration.pools.values() for one in pool.capacities})
    for name, group in configuration.groups.items():
        for resource, share in group.shares.items():
            path = ("groups", name, "shares", resource)
            if resource not in shared:
                raise at(
                    f"no pool shares {resource} (they share: {', '.join(shared) or 'nothing'}): "
                    "write one of these, or make a pool of it",
                    *path,
                )
            if share.maximum is not None and share.guaranteed > share.maximum:
                raise at(
                    f"guaranteed is {share.guaranteed}, but maximum is {share.maximum}: what is "
                    "guaranteed could never be held; raise maximum or lower guaranteed",
                    *path,
                )
    for name, pool in sorted(configuration.pools.items()):
        for tenant in configuration.members(pool):
            for resource, capacity in pool.capacities.items():
                quota = configuration.tenants[tenant].quota(resource)
                if quota is None or not quota.most_guaranteed:
                    continue
                guaranteed = quota.most_guaranteed
                if guaranteed > capacity:
                    raise _too_much(configuration, tenant, resource, guaranteed, name, capacity)
                if len(pool.capacities) > 1:
                    raise at(
                        f"guarantees {guaranteed} of {resource}, but pool {name} divides several "
                        "resources by dominant shares, which know no guarantees: remove the "
                        f"guarantee, or make a pool of {resource} alone",
                        *_quota_path(configuration, tenant, resource),
                    )
        if len(pool.capacities) > 1 and pool.history_half_life_ms is not None:
            raise at(
                "the past does not count where several resources are divided: remove it",
                *("pools", name, "history_half_life_ms"),
            )
        if pool.strategy not in WEIGHING and pool.history_half_life_ms is not None:
            raise at(
                f"the past does not count with strategy {pool.strategy}, which looks at no "
                f"weights: remove it, or write strategy {_or(WEIGHING)}",
                *("pools", name, "history_half_life_ms"),
            )


def pools_follow(configuration: "Configuration") -> None:
    """Refuse a pool that follows what has no limit to follow.

    Raises:
        PydanticCustomError: There is one.
    """
    for name, pool in sorted(configuration.pools.items()):
        downstream = pool.follows
        if downstream is None:
            continue
        path = ("pools", name, "follows")
        spec = configuration.downstreams.get(downstream)
        if spec is None:
            known = ", ".join(sorted({*configuration.downstreams} - {DEFAULT})) or "none"
            raise at(
                f"{downstream} is no listed downstream (there is: {known}): "
                "list it under downstreams",
                *path,
            )
        if spec.limit is None or spec.limit.concurrency is None:
            raise at(
                f"{downstream} has no limit that adapts: write one at "
                f"downstreams.{downstream}.limit.concurrency, such as concurrency: {{}}",
                *path,
            )
        if len(pool.capacities) > 1:
            raise at(
                f"follows the calls to {downstream}, but the pool has several resources "
                f"({', '.join(sorted(pool.capacities))}): make a pool of the one that they count "
                "against",
                *path,
            )


def calls_have_breakers(activities: "GovernedCalls", downstreams: Collection[str]) -> None:
    """Refuse a governed call whose downstream is not listed, unless ``*`` stands for all others.

    Raises:
        PydanticCustomError: There is one.
    """
    for name, call in sorted(activities.items()):
        mistake = not_listed(call.downstream, downstreams)
        if mistake is not None:
            raise at(mistake, "activities", name, "downstream")


def not_listed(downstream: str, listed: Collection[str]) -> str | None:
    """Return what is wrong with a downstream of a call that is not listed, nor ``*``; or None."""
    if downstream in listed or DEFAULT in listed:
        return None
    known = ", ".join(sorted(listed)) or "none"
    return f"{downstream} is no downstream (there is: {known}): list it under downstreams"


def channels_exist(configuration: "Configuration") -> None:
    """Refuse a channel that is named but not listed, or that a route has no say in.

    Raises:
        PydanticCustomError: There is one.
    """
    notifier = configuration.notifier
    known = ", ".join(sorted(notifier.channels)) or "none"
    named: list[tuple[str, tuple[str | int, ...]]] = [
        (name, ("notifier", "routes", number, "channels", place))
        for number, route in enumerate(notifier.routes)
        for place, name in enumerate(route.channels)
    ]
    named += [
        (name, ("notifier", "default", place)) for place, name in enumerate(notifier.default or ())
    ]
    for name, path in named:
        channel = notifier.channels.get(name)
        if channel is None:
            raise at(
                f"{name} is no channel (there is: {known}): list it under notifier.channels", *path
            )
        if channel.tenant is not None:
            raise at(
                f"{name} is tenant {channel.tenant}'s own and gets the alerts about that tenant "
                "without a route: remove it here",
                *path,
            )


def channels_have_owners(configuration: "Configuration") -> None:
    """Refuse a channel of a tenant that is not listed, unless ``*`` stands for all others.

    Raises:
        PydanticCustomError: There is one.
    """
    tenants = configuration.tenants
    if DEFAULT in tenants:
        return
    known = ", ".join(sorted(tenants)) or "none"
    for name, channel in sorted(configuration.notifier.channels.items()):
        if channel.tenant is not None and channel.tenant not in tenants:
            raise at(
                f"{channel.tenant} is no tenant (there is: {known}): list it under tenants",
                *("notifier", "channels", name, "tenant"),
            )


def half_open_is_told(configuration: "Configuration") -> None:
    """Refuse to be told of a breaker that is HALF_OPEN for longer than it ever is.

    Only what somebody has said: the default is for whom it can help.

    Raises:
        PydanticCustomError: There is such a rule.
    """
    longest = 0
    for name in sorted({*configuration.downstreams, DEFAULT}):
        spec = configuration.downstreams.get(name)
        at_most = configuration.breaker(name).policy.half_open_max_ms
        if spec is None or "half_open_ms" not in spec.alerts.model_fields_set:
            longest = max(longest, at_most)
            continue
        after_ms = spec.alerts.half_open_ms
        if after_ms is not None and after_ms >= at_most:
            raise at(
                f"is {after_ms}, but HALF_OPEN is left after {at_most} (half_open_max_ms) at the "
                "latest, so nobody would ever be told: lower it, raise half_open_max_ms, or write "
                "null",
                *("downstreams", name, "alerts", "half_open_ms"),
            )
    after_ms, unsaid = configuration.alerts.half_open_ms, type(configuration.alerts)().half_open_ms
    if after_ms is not None and after_ms != unsaid and after_ms >= longest:
        raise at(
            f"is {after_ms}, but every breaker that this is for leaves HALF_OPEN after {longest} "
            "(half_open_max_ms) at the latest, so nobody would ever be told: lower it, raise a "
            "half_open_max_ms, or write null",
            *("alerts", "half_open_ms"),
        )


def _or(strategies: Sequence[Strategy]) -> str:
    return f"{', '.join(strategies[:-1])} or {strategies[-1]}"


def at(message: str, *path: str | int) -> PydanticCustomError:
    """Return an error of the whole configuration that says where in it the mistake is."""
    return PydanticCustomError("misfit", "{message}", {"message": message, "path": path})
