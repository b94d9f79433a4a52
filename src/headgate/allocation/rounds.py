"""One round of a governor: from what a pool should be divided into to the next safe step.

The target says who should have what. A step towards it takes away first, and gives only what has
come back: what every ledger may hold at most stays within the capacity, whatever gets lost.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.allocation.solver import fill
from headgate.model.pool import Damping

Amounts = Mapping[str, int]


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


def step(
    capacity: int,
    places: Places,
    damping: Damping,
    comforts: Callable[[], Amounts] = dict,
) -> Step:
    """Return the next step for one resource.

    Nothing is taken from a tenant unless somebody else is to have it: what is left with an idle
    one harms nobody, and spares messages.

    Args:
        capacity: Units.
        places: Where everybody stands.
        damping: Of the pool.
        comforts: Says what each may have beyond its target as long as nobody else wants it. Asked
            only when there is something left for it.
    """
    next_step = Step()
    free, over = capacity - places.ceilings, places.allocated - capacity
    lacking = dict(places.lacking)
    for tenant in _cuts(over, free, places, lacking, damping, next_step):
        # What it gives back is only there once its ledger has said so.
        lacking.pop(tenant, None)
    for tenant, units in _fragments(free, places, lacking).items():
        next_step.allocated[tenant] = places.of[tenant].allocated - units
        lacking.pop(tenant, None)
    # Within its ceiling, a tenant takes nothing from what is free.
    next_step.allocated.update(places.within)
    if free > 0:
        _raise(free, places, lacking, next_step, comforts)
    return next_step


def _cuts(
    over: int,
    free: int,
    places: Places,
    lacking: Mapping[str, int],
    damping: Damping,
    next_step: Step,
) -> list[str]:
    """Take away what others are to have, and what is ``over`` the capacity; return from whom."""
    on_the_way = -free - over  # ceilings without allocations: the capacity stands in both
    lacked = sum(lacking.values()) - free
    # What jobs hold beyond their allocation comes back some time: reason enough to leave what
    # others use, but not what lies idle meanwhile.
    missing, at_once = max(over, lacked - on_the_way), max(over, lacked - places.coming)
    if at_once <= 0:
        return []
    # What a tenant does not use is taken first, and at once: nobody feels it.
    of = places.of
    having = [(tenant, of[tenant]) for tenant in places.generous]
    unused = {tenant: place.allocated - max(place.target, place.wanted) for tenant, place in having}
    idle = _by_need(at_once, unused)
    missing, over = max(0, missing - sum(idle.values())), over - sum(idle.values())
    busy = {
        tenant: place.allocated - place.target - idle.get(tenant, 0) for tenant, place in having
    }
    owed = sum(
        max(0, min(of[tenant].owed, of[tenant].target) - of[tenant].ceiling)
        for tenant in lacking.keys() & places.owed
    )
    urgent = max(0, over, min(missing, owed - max(0, free) - on_the_way - sum(idle.values())))
    calm = missing - urgent
    if not urgent and _within(damping.dead_zone, of, lacking):
        calm = 0
    ready = busy if urgent else {t: units for t, units in busy.items() if of[t].may_cut}
    share = -(-calm * _millionths(damping.share_per_round) // 1_000_000)
    cuts = _by_need(urgent + share, ready)
    next_step.settled = sum(cuts.values()) >= min(urgent + calm, sum(busy.values()))
    for tenant in {*idle, *cuts}:
        loss = idle.get(tenant, 0) + cuts.get(tenant, 0)
        next_step.allocated[tenant] = of[tenant].allocated - loss
    return list(next_step.allocated)


def _fragments(free: int, among: Places, lacking: Mapping[str, int]) -> dict[str, int]:
    """Return what to take of fragments, so that what is free and they make up whole jobs.

    Who waits for the rest of what its next job needs must not keep others waiting with what it has
    of it: all of them would wait for each other. Whose turn comes last gives first.
    """
    places, fragments = among.of, among.fragments
    if not fragments or lacking.keys().isdisjoint(fragments):
        return {}
    order = _in_turn(places, lacking)
    givers = [tenant for tenant in order if tenant in fragments]
    left = free + among.coming
    taken: dict[str, int] = {}
    for tenant in order:
        if tenant in taken:
            break  # what comes after it has given already
        if tenant in givers:
            givers.remove(tenant)
        place = places[tenant]
        needed = place.first - place.ceiling
        if not 0 < needed <= lacking[tenant]:
            continue
        gained: dict[str, int] = {}
        while needed > left + sum(gained.values()) and givers:
            giver = givers.pop()
            gained[giver] = fragments[giver]
        if needed > left + sum(gained.values()):
            break
        left += sum(gained.values()) - needed
        taken |= gained
    return taken


def _raise(
    free: int,
    among: Places,
    lacking: Mapping[str, int],
    next_step: Step,
    comforts: Callable[[], Amounts],
) -> None:
    """Give what is free: first what is owed, then what is wanted, then comfort.

    A job needs all of its units at once. Spread over all who lack some, what comes back bit by bit
    would lie idle in parts that are too small for anybody's job, so it goes to one job after the
    other: who was given nothing for longest comes first, and nobody passes it.
    """
    places = among.of
    owed = dict.fromkeys(lacking, 0)
    for tenant in lacking.keys() & among.owed:
        more = places[tenant].owed - places[tenant].ceiling
        owed[tenant] = min(lacking[tenant], max(0, more))
    given = dict.fromkeys(lacking, 0)
    left = free
    order = _in_turn(places, lacking)
    for limits in (owed, lacking) if any(owed.values()) else (lacking,):
        left, all_served = _by_job(left, places, order, limits, given)
        if not all_served:
            break
        # Less than its next job needs is of no use to anybody, and would be taken again.
        rest = {
            tenant: units - given[tenant]
            for tenant, units in limits.items()
            if places[tenant].first <= places[tenant].ceiling + given[tenant]
        }
        for tenant, units in _by_need(left, rest).items():
            given[tenant] += units
            left -= units
    if left > 0 and all(given[tenant] == units for tenant, units in lacking.items()):
        comfort = {
            tenant: units - max(0, places[tenant].ceiling - places[tenant].target)
            for tenant, units in comforts().items()
            if tenant not in next_step.allocated
        }
        for tenant, units in _by_need(left, comfort).items():
            given[tenant] = given.get(tenant, 0) + units
    for tenant, units in given.items():
        if units > 0:
            next_step.allocated[tenant] = places[tenant].ceiling + units


def _by_job(
    left: int,
    places: Mapping[str, Place],
    order: Sequence[str],
    limits: Mapping[str, int],
    given: dict[str, int],
) -> tuple[int, bool]:
    """Add to ``given`` what lets the next job of each begin, within ``limits``; in ``order``.

    Returns:
        What is left, and whether it was enough for all of these jobs.
    """
    for tenant in order:
        place = places[tenant]
        needed = place.first - place.ceiling - given[tenant]
        if 0 < needed <= limits[tenant] - given[tenant]:
            if needed > left:
                return left, False
            given[tenant] += needed
            left -= needed
    return left, True


def keep_limits(
    taken: Step, places: Mapping[str, Place], groups: Iterable[tuple[int, Sequence[str]]]
) -> None:
    """Change a step so that no group can come to hold more than it may.

    Args:
        taken: The step.
        places: Where everybody stood before it.
        groups: The limit of each group that has one, and its tenants.
    """
    for limit, tenants in groups:
        left = limit - sum(places[tenant].ceiling for tenant in tenants)
        short = sum(max(0, places[t].target - places[t].ceiling) for t in tenants) > left
        for tenant in tenants:
            place = places[tenant]
            allocated = taken.allocated.get(tenant, place.allocated)
            if allocated > place.ceiling:
                more = min(allocated - place.ceiling, max(0, left))
                if more < allocated - place.ceiling and place.ceiling + more < place.first:
                    more = 0  # not enough for its next job
                left -= more
                allocated = place.ceiling + more
            elif (short or left < 0) and allocated > place.target:
                allocated = place.target
            if allocated != place.allocated:
                taken.allocated[tenant] = allocated
            else:
                taken.allocated.pop(tenant, None)


def _in_turn(places: Mapping[str, Place], tenants: Iterable[str]) -> list[str]:
    """Return the tenants in the order in which they are given something."""
    return sorted(tenants, key=lambda one: (places[one].raised_at_ms, one))


def _within(dead_zone: float, places: Mapping[str, Place], lacking: Mapping[str, int]) -> bool:
    """Whether nobody lacks more than the dead zone of what it is to have."""
    share = _millionths(dead_zone)
    return all(
        units * 1_000_000 <= share * places[tenant].target for tenant, units in lacking.items()
    )


def _by_need(amount: int, needs: Mapping[str, int]) -> dict[str, int]:
    """Divide ``amount`` in proportion to the needs, nobody more than its need."""
    if amount <= 0:
        return {}
    real = sorted((tenant, units) for tenant, units in needs.items() if units > 0)
    if not real:
        return {}
    units = [need for _, need in real]
    parts = fill(amount, units, [0] * len(units), units)
    return {tenant: part for (tenant, _), part in zip(real, parts, strict=True) if part > 0}


def _millionths(share: float) -> int:
    return round(share * 1_000_000)
