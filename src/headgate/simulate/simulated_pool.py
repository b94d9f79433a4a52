"""The pool of a simulation: what its ledgers and its governor are configured with."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from headgate.allocation.claims import Claim, Group
from headgate.model.limits import BackpressurePolicy, Steps
from headgate.model.pool import GUARANTEEING, Damping, GroupShare, PoolSettings, Strategy
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings

POOL: Final = "pool"
RESOURCE: Final = "units"
LONGEST_MS: Final = 30 * 86_400_000
"""A permit is held no longer than this, so no job may run longer."""


def counted_weight(weight: float, strategy: Strategy) -> float:
    """Return what a weight counts as under a strategy."""
    if strategy is Strategy.EQUAL:
        return 1 if weight else 0
    return 1 if strategy is Strategy.UNLIMITED else weight


@dataclass(frozen=True, slots=True)
class SimulatedPool:
    """A pool of one resource.

    Attributes:
        capacity: Units.
        strategy: How it is divided.
        shares: Tenants that have other shares than the default; their ``demand`` does not matter.
        groups: That tenants are in.
        damping: How calmly it is re-allocated.
    """

    capacity: int
    strategy: Strategy = Strategy.PROPORTIONAL
    shares: tuple[Claim, ...] = ()
    groups: tuple[Group, ...] = ()
    damping: Damping = field(default_factory=Damping)

    def with_strategy(self, strategy: Strategy) -> "SimulatedPool":
        """Return the same pool, divided differently."""
        return replace(self, strategy=strategy)

    def claim(self, tenant: str) -> Claim:
        """Return the share of a tenant, as far as the strategy looks at it.

        What it does not look at is left out, so that the ledger does not go by it either.
        """
        listed = next((one for one in self.shares if one.tenant == tenant), None)
        return self._seen(Claim(tenant, 0) if listed is None else listed)

    def _seen(self, claim: Claim) -> Claim:
        plain = Claim(
            tenant=claim.tenant,
            demand=0,
            weight=counted_weight(claim.weight, self.strategy),
            maximum=claim.maximum,
            group=claim.group,
        )
        if self.strategy is Strategy.FIXED:
            # The governor goes by ``max_active``: there a fixed part is no more than that.
            fixed = claim.fixed or 0
            maximum = fixed if claim.maximum is None else min(fixed, claim.maximum)
            return replace(plain, maximum=maximum, fixed=maximum)
        if self.strategy not in GUARANTEEING:
            return plain
        guaranteed = claim.guaranteed
        if claim.maximum is not None:
            guaranteed = min(guaranteed, claim.maximum)
        return replace(
            plain,
            priority=claim.priority,
            guaranteed=guaranteed,
            borrow_limit=claim.borrow_limit,
            lend_limit=None if claim.lend_limit is None else min(claim.lend_limit, guaranteed),
        )

    def ledger_settings(self, claim: Claim) -> LedgerSettings:
        """Return what the ledger of a tenant is configured with."""
        quota = Quota(
            max_active=claim.maximum,
            guaranteed=claim.guaranteed,
            borrow_limit=claim.borrow_limit,
            lend_limit=claim.lend_limit,
            weight=claim.weight,
            priority=claim.priority,
            max_hold_ms=LONGEST_MS,
        )
        return LedgerSettings(
            quotas={RESOURCE: quota}, source="listed", pools={RESOURCE: POOL}, group=claim.group
        )

    def governor_settings(self, tenants: Iterable[str]) -> PoolSettings:
        """Return what the governor is configured with."""
        groups = {one.tenant: one.group for one in self.shares}
        return PoolSettings(
            # Nobody heeds the pressure here, so nobody is told of it.
            backpressure=BackpressurePolicy(
                queue_age_ms=Steps(), waiting=Steps(), in_flight=Steps(), slots=Steps()
            ),
            capacity={RESOURCE: self.capacity},
            strategy=self.strategy,
            tenants={tenant: groups.get(tenant) for tenant in sorted(tenants)},
            groups={
                group.name: GroupShare(
                    parent=group.parent,
                    weight=group.weight,
                    priority=group.priority,
                    guaranteed=group.guaranteed,
                    borrow_limit=group.borrow_limit,
                    lend_limit=group.lend_limit,
                    maximum=group.maximum,
                )
                for group in self.groups
            },
            damping=self.damping,
            source="listed",
            unlent={
                claim.tenant: claim.guaranteed - claim.lend_limit
                for claim in map(self._seen, self.shares)
                if claim.lend_limit is not None and claim.guaranteed > claim.lend_limit
            },
        )
