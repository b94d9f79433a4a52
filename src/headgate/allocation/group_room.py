"""What the limits of groups leave room for in one step of a round."""

from collections.abc import Mapping, Sequence

from headgate.allocation.places import Place, Step, in_turn

GroupLimits = Sequence[tuple[int, Sequence[str]]]
"""The limit of each group that has one, and its tenants."""


def reachable(
    lacking: Mapping[str, int], places: Mapping[str, Place], groups: GroupLimits
) -> dict[str, int]:
    """Return what there is room for, of what tenants lack, in the groups that they are in.

    A full group has room again when those in it give something back, and that is then for the next
    of them in turn: nobody of its own group passes it, and nobody else has to wait for it.

    Args:
        lacking: Units by tenant.
        places: Where everybody stands.
        groups: Their limits.

    Returns:
        Units by tenant; not named: none.
    """
    rooms = [limit - sum(places[tenant].ceiling for tenant in tenants) for limit, tenants in groups]
    groups_of: dict[str, list[int]] = {}
    for number, (_, tenants) in enumerate(groups):
        for tenant in tenants:
            groups_of.setdefault(tenant, []).append(number)
    found = {tenant: units for tenant, units in lacking.items() if tenant not in groups_of}
    order = in_turn(places, lacking.keys() & groups_of.keys())
    closed: set[int] = set()
    # First what lets the next job of each begin, then the rest.
    for is_first in (True, False):
        for tenant in order:
            numbers, had = groups_of[tenant], found.get(tenant, 0)
            needed = places[tenant].first - places[tenant].ceiling
            if is_first:
                more = needed if 0 < needed <= lacking[tenant] else 0
            else:
                more = lacking[tenant] - had if needed <= had else 0
            room = min(rooms[number] for number in numbers)
            if not more or not closed.isdisjoint(numbers):
                continue
            if more > room and is_first:
                closed.update(number for number in numbers if rooms[number] < more)
                continue
            more = min(more, room)
            if more <= 0:
                continue
            found[tenant] = had + more
            for number in numbers:
                rooms[number] -= more
    return found


def keep_limits(taken: Step, places: Mapping[str, Place], groups: GroupLimits) -> None:
    """Change a step so that no group can come to hold more than it may.

    Args:
        taken: The step.
        places: Where everybody stood before it.
        groups: Their limits.
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
