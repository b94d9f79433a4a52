"""What one member has, wants and has a right to, of one resource or in all."""

from typing import Final

from headgate.allocation.governor_record import Member
from headgate.model.pool import Share

NO_SHARE: Final = Share(weight=0.0)
"""Of a tenant that has not said anything yet."""


def ceiling_of(member: Member, resource: str) -> int:
    """Return what its ledger may hold at most, as far as can be known."""
    claim = member.claims.get(resource)
    held = 0 if claim is None else claim.held
    return max(member.allocated.get(resource, 0), member.outstanding.get(resource, 0), held)


def wanted_of(member: Member, resource: str) -> int:
    """Return what it wants now, what it holds included."""
    claim = member.claims.get(resource)
    return 0 if claim is None else claim.wanted


def share_of(member: Member, resource: str) -> Share:
    """Return by what right it has something."""
    claim = member.claims.get(resource)
    return claim.share if claim is not None else NO_SHARE


def weight_of(member: Member) -> float:
    """Return its weight over all resources: the greatest."""
    return max((claim.share.weight for claim in member.claims.values()), default=1.0)
