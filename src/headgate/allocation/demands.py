"""What a member wants: as its ledger says it, and as it is forgotten."""

from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.members import wanted_of
from headgate.decay import MICRO, decayed
from headgate.model.pool import Demand, PoolSettings


def demand_of(member: Member, resource: str) -> int:
    """Return what is or was lately wanted, in units."""
    return -(-member.smoothed.get(resource, 0) // MICRO)


def demands_at(member: Member, settings: PoolSettings, at_ms: int) -> dict[str, int]:
    """Return what is or was lately wanted of each resource, as of then."""
    half_life_ms = settings.damping.demand_half_life_ms
    elapsed_ms = at_ms - member.smoothed_at_ms
    return {
        name: -(-decayed(units, wanted_of(member, name), elapsed_ms, half_life_ms) // MICRO)
        for name, units in member.smoothed.items()
    }


def smooth(member: Member, settings: PoolSettings, now_ms: int) -> None:
    """Let demand fall by half in each half-life towards what is wanted, and note the usage."""
    elapsed_ms = now_ms - member.smoothed_at_ms
    half_life_ms = settings.damping.demand_half_life_ms
    for resource, micro_units in member.smoothed.items():
        claim = member.claims.get(resource)
        wanted, held = (0, 0) if claim is None else (claim.wanted, claim.held)
        if micro_units != wanted * MICRO:
            member.smoothed[resource] = decayed(micro_units, wanted, elapsed_ms, half_life_ms)
        if settings.history_half_life_ms is not None:
            used = member.usage.get(resource, 0)
            member.usage[resource] = decayed(used, held, elapsed_ms, settings.history_half_life_ms)
    member.smoothed_at_ms = now_ms


def as_worth(message: Demand) -> Demand:
    """Return it with guarantees as they are of use: what is beyond a maximum is of none."""
    worth = {
        resource: claim.model_copy(
            update={"share": claim.share.model_copy(update={"guaranteed": claim.share.maximum})}
        )
        for resource, claim in message.claims.items()
        if claim.share.maximum is not None and claim.share.guaranteed > claim.share.maximum
    }
    return message.model_copy(update={"claims": message.claims | worth}) if worth else message


def changes_nothing(record: GovernorRecord, member: Member, message: Demand) -> bool:
    """Return whether a round after this message would do just what one without it would.

    A pool in demand is full of messages, and most of them say how much more is wanted by one
    that has less than it wants already. Its part is not limited by its demand, nothing that it
    has is unused, and its next job is the same and does not fit in yet.
    """
    settings = record.settings
    if settings.history_half_life_ms is not None or len(settings.capacity) > 1:
        return False  # there what one wants concerns the others
    if (message.incarnation, message.sequence) != (member.incarnation, member.sequence):
        return False
    if message.tenant in record.unheard or member.claims.keys() != message.claims.keys():
        return False
    for resource, new in message.claims.items():
        old = member.claims[resource]
        allocated, part = member.allocated.get(resource, 0), member.target.get(resource, 0)
        if member.outstanding.get(resource, 0) > max(allocated, old.held):
            return False  # something comes back
        enough = max(allocated, part, old.share.guaranteed)
        if old.wanted <= enough or new.wanted <= enough:
            return False
        if new.held != old.held or new.next != old.next or new.share != old.share:
            return False
        if new.ever != old.ever:
            return False
        if not new.next or new.held + new.next <= allocated:
            return False
    return True
