"""Where the members of a pool stand in one round of its governor, and what changes there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """Where a tenant stands with one resource, in units.

    Attributes:
        wanted: What it wants now.
        target: What the division gives it.
        allocated: What it has been told it may hold.
        ceiling: What it may hold until it has confirmed the last cut; never below ``allocated``.
        owed: What it has a right to now: its guarantee, as far as it wants it.
        may_cut: False while what it was given last is to be left with it for a time.
        first: What it has to have so that the next in its line can begin; 0: nobody waits.
        raised_at_ms: When it was last given more.
        held: What its jobs hold.
    """

    wanted: int
    target: int
    allocated: int
    ceiling: int
    owed: int
    may_cut: bool
    first: int = 0
    raised_at_ms: int = 0
    held: int = 0


class Places:
    """Where everybody stands, and what a step has to know of all together, kept as they change.

    Args:
        places: Those that are known from the beginning.

    Attributes:
        of: By tenant.
        ceilings: The sum of them.
        allocated: The sum of them, what those ``within`` get back counted in.
        coming: What cuts will bring back that have yet to be confirmed; without what jobs hold
            beyond them, for nobody knows how long.
        lacking: What those lack whose target is above their ceiling.
        within: What those can have at once that have less than their target, within the ceiling.
        generous: Who has more than its target.
        fragments: What those may hold and do not whose next job does not fit in there.
        owed: Who has a right to something now.
    """

    __slots__ = (
        "allocated",
        "ceilings",
        "coming",
        "fragments",
        "generous",
        "lacking",
        "of",
        "owed",
        "within",
    )

    def __init__(self, places: Mapping[str, Place] | None = None) -> None:
        self.of: dict[str, Place] = {}
        self.ceilings = self.allocated = self.coming = 0
        self.lacking: dict[str, int] = {}
        self.within: dict[str, int] = {}
        self.generous: set[str] = set()
        self.fragments: dict[str, int] = {}
        self.owed: set[str] = set()
        for tenant, place in (places or {}).items():
            self.put(tenant, place)

    def put(self, tenant: str, place: Place) -> None:
        """Note where a tenant stands now."""
        before = self.of.get(tenant)
        if before == place:
            return
        self.of[tenant] = place
        _, target, allocated, ceiling, owed, _, first, _, held = place
        if before is not None:
            self._count(before, -1)
            self.lacking.pop(tenant, None)
            self.within.pop(tenant, None)
            self.generous.discard(tenant)
            self.fragments.pop(tenant, None)
            self.owed.discard(tenant)
        self._count(place, 1)
        if allocated == ceiling < first and allocated != held:
            self.fragments[tenant] = allocated - held
        if owed:
            self.owed.add(tenant)
        if target > ceiling:
            self.lacking[tenant] = target - ceiling
        if allocated > target:
            self.generous.add(tenant)
        elif allocated < target and allocated < ceiling:
            self.within[tenant] = min(target, ceiling)

    def _count(self, place: Place, sign: int) -> None:
        ceiling = place.ceiling
        told = max(place.allocated, min(place.target, ceiling))
        self.ceilings += sign * ceiling
        self.allocated += sign * told
        if ceiling > told:
            self.coming += sign * (ceiling - max(told, place.held))


@dataclass(slots=True)
class Step:
    """What changes now, by tenant, and whether more is to follow.

    Attributes:
        allocated: New allocations, where they change.
        settled: Nothing is left to do, unless something changes.
    """

    allocated: dict[str, int] = field(default_factory=dict)
    settled: bool = True


def in_turn(places: Mapping[str, Place], tenants: Iterable[str]) -> list[str]:
    """Return the tenants in the order in which they are given something."""
    return sorted(tenants, key=lambda one: (places[one].raised_at_ms, one))
