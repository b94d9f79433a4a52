"""A pool as people see it."""

from headgate.alerts.desk import Desk
from headgate.allocation.capacities import Capacities
from headgate.allocation.demands import demands_at
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.left import conditions
from headgate.allocation.members import ceiling_of, weight_of
from headgate.model.limits import PressureView
from headgate.model.pool import MemberView, PoolView


def pool_view(
    record: GovernorRecord,
    capacities: Capacities,
    pressure: PressureView,
    desk: Desk,
    most: int | None = None,
) -> PoolView:
    """Return what a governor's record says, for people; see ``Governor.view``."""
    capacity = capacities.now()
    named = sorted(record.members)[:most]
    return PoolView(
        pool=record.pool,
        settings=record.settings,
        capacity=capacity,
        override=record.override,
        beneath=list(record.beneath),
        follows=record.followed,
        pressure=pressure,
        malformed=record.malformed,
        members={
            tenant: MemberView(
                held={name: claim.held for name, claim in member.claims.items()},
                wanted={name: claim.wanted for name, claim in member.claims.items()},
                # As of the last round.
                demand=demands_at(member, record.settings, record.divided_at_ms),
                target=dict(member.target),
                allocated=dict(member.allocated),
                ceiling={resource: ceiling_of(member, resource) for resource in capacity},
                guaranteed={n: claim.share.guaranteed for n, claim in member.claims.items()},
                weight=weight_of(member),
                group=record.settings.tenants.get(tenant),
                stopped=member.stopped,
                waiting=_waiting(member),
                waiting_since_ms=_waiting_since(member),
                may_wait=member.may_wait,
            )
            for tenant, member in ((one, record.members[one]) for one in named)
        },
        left_out=len(record.members) - len(named),
        unheard=record.unheard[:most],
        left={tenant: dict(record.left[tenant].units) for tenant in sorted(record.left)[:most]},
        conditions=[*record.conditions, *conditions(record)],
        rounds=record.rounds,
        divided_at_ms=record.divided_at_ms,
        revision=record.revision,
        incarnation=record.incarnation,
        alerts=desk.view(),
    )


def _waiting(member: Member) -> dict[str, int]:
    """Return how many jobs wait, by resource."""
    waiting = {
        name: sum(tier.jobs for tier in claim.tiers or ()) + claim.at_gates
        for name, claim in member.claims.items()
    }
    return {name: jobs for name, jobs in waiting.items() if jobs}


def _waiting_since(member: Member) -> int | None:
    """Return since when the first of them has waited."""
    since = [tier.since_ms for claim in member.claims.values() for tier in claim.tiers or ()]
    return min(since, default=None)
