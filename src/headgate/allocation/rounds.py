"""One round of a governor: from what a pool should be divided into to the next safe step.

The target says who should have what. A step towards it takes away first, and gives only what has
come back: what every ledger may hold at most stays within the capacity, whatever gets lost.
"""

from collections.abc import Callable, Mapping, Sequence

from headgate.allocation.group_room import GroupLimits, reachable
from headgate.allocation.places import Place, Places, Step, in_turn
from headgate.allocation.solver import fill
from headgate.model.pool import Damping

Amounts = Mapping[str, int]


def step(
    capacity: int,
    places: Places,
    damping: Damping,
    comforts: Callable[[], Amounts] = dict,
    groups: GroupLimits = (),
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
        groups: Whose room decides what those in them can be given now.
    """
    next_step = Step()
    free, over = capacity - places.ceilings, places.allocated - capacity
    lacking = dict(places.lacking)
    if groups and lacking:
        lacking = reachable(lacking, places.of, groups)
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
    order = in_turn(places, lacking)
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
    order = in_turn(places, lacking)
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
