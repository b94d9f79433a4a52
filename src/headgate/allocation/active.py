"""Whom a round of a governor looks at: a pool of thousands has few who want something now."""

from typing import Final

from headgate.allocation.demands import smooth
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.model.pool import Strategy

_LOOK_FOR_IDLE_EVERY: Final = 8
"""Rounds; to look is not free either."""


class Active:
    """Those who may hold or want something, or hold some back; holds no truth of its own.

    Args:
        record: Of the governor.
    """

    def __init__(self, record: GovernorRecord) -> None:
        self._record = record
        # None: not known, so all are looked at.
        self._names: set[str] | None = None
        self._in_order: list[tuple[str, Member]] | None = None

    def members(self) -> list[tuple[str, Member]]:
        """Return them by name; the same list as long as they are the same."""
        if self._in_order is None:
            members = self._record.members
            names = members if self._names is None else self._names
            self._in_order = [(tenant, members[tenant]) for tenant in sorted(names)]
        return self._in_order

    def add(self, tenant: str) -> None:
        """Look at this one too from now on."""
        if self._names is not None and tenant not in self._names:
            self._names.add(tenant)
            self._in_order = None

    def forget_idle(self, now_ms: int) -> None:
        """Leave those out of the next rounds who have nothing and want nothing."""
        settings = self._record.settings
        if settings.history_half_life_ms is not None or len(settings.capacity) > 1:
            return  # there everybody counts for the others
        if self._names is not None and self._record.rounds % _LOOK_FOR_IDLE_EVERY:
            return
        fixed = settings.strategy is Strategy.FIXED
        looked_at, kept = self.members(), []
        for one in looked_at:
            member = one[1]
            if _has_nothing(member, fixed):
                smooth(member, settings, now_ms)
                if not any(member.smoothed.values()):
                    continue
            kept.append(one)
        if self._names is None or len(kept) < len(looked_at):
            self._names, self._in_order = {tenant for tenant, _ in kept}, kept


def _has_nothing(member: Member, fixed: bool) -> bool:
    """Whether a member has nothing, wants nothing, and has no right that would count."""
    for claim in member.claims.values():
        if claim.wanted or claim.held or claim.share.guaranteed or (fixed and claim.share.maximum):
            return False
    return not (
        member.left_out_ms or any(member.allocated.values()) or any(member.outstanding.values())
    )
