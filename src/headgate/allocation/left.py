"""Who shares a pool no more, and what its jobs still hold of it: that counts until it is back.

What one holds is known when its ledger has answered the governor's last question. Who leaves before
that stays a member for so long, with no share of the pool, and nobody is given more meanwhile.
"""

from collections.abc import Collection, Mapping
from typing import Final

from headgate.allocation.governor_record import GovernorRecord, Left, Member
from headgate.allocation.members import NO_SHARE, ceiling_of
from headgate.model.pool import Claim, Condition, Demand

STILL_HELD: Final = "STILL_HELD"

_FORGET_AFTER_MS: Final = 86_400_000
"""Of whom nothing was heard for so long, the ledger is gone and nobody will say more."""


def have_said_so(record: GovernorRecord, tenants: Mapping[str, object]) -> bool:
    """Return whether the ledger of somebody who is not among ``tenants`` has left already."""
    return any(
        _has_left(member, resource)
        for name, member in record.members.items()
        if name not in tenants
        for resource in member.claims
    )


def leave(
    record: GovernorRecord,
    tenants: Mapping[str, object],
    now_ms: int,
    unheard: Collection[str] = (),
    *,
    as_said: bool = True,
) -> None:
    """Let those go who are not among ``tenants``; who is back is asked as everybody is.

    Args:
        record: The governor's.
        tenants: Who shares the pool now.
        now_ms: Unix time.
        unheard: Those whose ledgers have yet to answer: they stay until then.
        as_said: A ledger that has left already, and grants nothing any more, holds what it has said
            and not all that it was once given. It will say no more until something comes back.
    """
    for tenant in [name for name in record.members if name not in tenants]:
        if tenant in unheard:
            _ask_for_nothing(record.members[tenant])
            continue
        member = record.members.pop(tenant)
        units = {
            name: member.claims[name].held
            if as_said and _has_left(member, name)
            else ceiling_of(member, name)
            for name in member.claims | member.allocated
        }
        if any(units.values()):
            record.left[tenant] = Left(units, now_ms, member.incarnation, member.revision)
    for tenant in record.left.keys() & tenants.keys():
        del record.left[tenant]


def leaving(record: GovernorRecord) -> list[str]:
    """Return the members that share the pool no more, by name."""
    tenants = record.settings.tenants
    if len(record.members) <= len(tenants):
        return []  # who shares it is a member
    return sorted(record.members.keys() - tenants.keys())


def let_go(record: GovernorRecord, now_ms: int) -> bool:
    """Let those members go that were asked and have answered; return whether there were any."""
    answered = [tenant for tenant in leaving(record) if tenant not in record.unheard]
    for tenant in answered:
        member = record.members.pop(tenant)
        units = {name: claim.held for name, claim in member.claims.items() if claim.held}
        if units:
            record.left[tenant] = Left(units, now_ms, member.incarnation, member.revision)
    return bool(answered)


def return_to_ask(record: GovernorRecord) -> None:
    """Make members again of those who had left: they may have come back, and left, since then."""
    for tenant, left in record.left.items():
        claims = {name: Claim(held=units, share=NO_SHARE) for name, units in left.units.items()}
        record.members[tenant] = Member(claims=claims, told_at_ms=left.heard_ms)
    record.left.clear()


def as_leaving(message: Demand) -> Demand:
    """Return what one says that shares the pool no more: what it holds, and no wish."""
    claims = {
        name: Claim(held=claim.held, share=NO_SHARE) for name, claim in message.claims.items()
    }
    return message.model_copy(update={"claims": claims})


def heard(record: GovernorRecord, message: Demand, now_ms: int) -> bool:
    """Take in what one who has left still holds; return whether that is less than it was."""
    known = record.left.get(message.tenant)
    said = message.incarnation, message.revision
    if known is None or said < (known.incarnation, known.revision):
        return False
    left: dict[str, int] = {}
    for resource, units in known.units.items():
        claim = message.claims.get(resource)
        if claim is not None and claim.share.maximum != 0:
            left[resource] = units  # its ledger does not know yet, and may grant all it was told
        elif claim is not None and claim.held:
            left[resource] = min(units, claim.held)
    if left:
        record.left[message.tenant] = Left(left, now_ms, *said)
    else:
        del record.left[message.tenant]
    return left != known.units


def without_left(
    record: GovernorRecord, capacity: Mapping[str, int], now_ms: int
) -> dict[str, int]:
    """Return the capacity without what those who have left hold."""
    there_is = dict(capacity)
    for tenant, left in list(record.left.items()):
        if now_ms - left.heard_ms > _FORGET_AFTER_MS:
            del record.left[tenant]
            continue
        for resource, held in left.units.items():
            if resource in there_is:
                there_is[resource] = max(0, there_is[resource] - held)
    return there_is


def conditions(record: GovernorRecord) -> list[Condition]:
    """Return who still holds what, for people."""
    return [
        Condition(
            type=STILL_HELD,
            message=f"{tenant} shares the pool no more, and may still hold "
            + ", ".join(f"{held} {name}" for name, held in sorted(left.units.items()) if held),
        )
        for tenant, left in sorted(record.left.items())
    ] + [
        Condition(
            type=STILL_HELD,
            message=f"{tenant} shares the pool no more, and has yet to say what it holds",
        )
        for tenant in leaving(record)
    ]


def _ask_for_nothing(member: Member) -> None:
    member.claims = {
        name: Claim(held=claim.held, share=NO_SHARE) for name, claim in member.claims.items()
    }
    member.smoothed = {}


def _has_left(member: Member, resource: str) -> bool:
    claim = member.claims.get(resource)
    return claim is not None and claim.share.maximum == 0
