"""The groups of a pool, as its settings have them: who is in which, and what each may have."""

from collections.abc import Mapping
from dataclasses import replace

from headgate.allocation.active import Active
from headgate.allocation.claims import Group
from headgate.model.pool import GUARANTEEING, PoolSettings


def groups_of(settings: PoolSettings, tenant: str) -> list[tuple[str, int | None]]:
    """Return the groups that a tenant is in, and what each may have at most, if limited."""
    found: list[tuple[str, int | None]] = []
    name = settings.tenants.get(tenant)
    while name is not None and name in settings.groups and len(found) < len(settings.groups):
        group = settings.groups[name]
        limits = [] if group.maximum is None else [group.maximum]
        if settings.strategy in GUARANTEEING and group.borrow_limit is not None:
            limits.append(group.guaranteed + group.borrow_limit)
        found.append((name, min(limits, default=None)))
        name = group.parent
    return found


class Groups:
    """Answers what a division and a step have to know of groups.

    Args:
        settings: Of the pool.
        active: Whose groups count.

    Attributes:
        all: As they share the pool, by name.
    """

    def __init__(self, settings: PoolSettings, active: Active) -> None:
        self._settings = settings
        self._active = active
        self.all = [
            Group(
                name=name,
                parent=group.parent,
                weight=group.weight,
                guaranteed=group.guaranteed,
                borrow_limit=group.borrow_limit,
                lend_limit=group.lend_limit,
                maximum=group.maximum,
                priority=group.priority,
            )
            for name, group in sorted(settings.groups.items())
        ]

    def of(self, tenant: str) -> list[tuple[str, int | None]]:
        """Return the groups that a tenant is in, and what each may have at most, if limited."""
        return groups_of(self._settings, tenant)

    def priorities(self, tenant: str, priority: int) -> list[tuple[str, int]]:
        """Return names and priorities from the top group down to the tenant, which has this one."""
        path = [(f"tenant {tenant}", priority)]
        for name, _ in self.of(tenant):
            path.append((name, self._settings.groups[name].priority))
        path.reverse()
        return path

    def is_limited(self, tenant: str) -> bool:
        """Return whether a tenant is in a group that has a limit."""
        return any(limit is not None for _, limit in self.of(tenant))

    def limited(self) -> list[tuple[int, list[str]]]:
        """Return the limit of each group that has one, with the tenants in it."""
        members: dict[str, list[str]] = {}
        limits: dict[str, int] = {}
        if self._settings.groups:
            for tenant, _ in self._active.members():
                for name, limit in self.of(tenant):
                    if limit is not None:
                        members.setdefault(name, []).append(tenant)
                        limits[name] = limit
        return [(limits[name], tenants) for name, tenants in sorted(members.items())]

    def less(self, groups: list[Group], turns: Mapping[str, int]) -> list[Group]:
        """Return the groups without what some of their tenants have already."""
        taken: dict[str, int] = {}
        for tenant, units in turns.items():
            for name, _ in self.of(tenant):
                taken[name] = taken.get(name, 0) + units
        return [_less(group, taken.get(group.name, 0)) for group in groups]


def _less(group: Group, units: int) -> Group:
    """Return a group of which so many units are given away already."""
    if not units:
        return group
    guaranteed = max(0, group.guaranteed - units)
    maximum, borrow_limit = group.maximum, group.borrow_limit
    if maximum is not None:
        maximum = max(0, maximum - units)
    if borrow_limit is not None:
        borrow_limit = max(0, group.guaranteed + borrow_limit - units - guaranteed)
    return replace(group, guaranteed=guaranteed, maximum=maximum, borrow_limit=borrow_limit)
