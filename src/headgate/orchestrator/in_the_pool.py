"""How a pool is now, for those who wait for more of it: as its governor says when it is asked."""

from collections.abc import Iterator
from typing import Final

from headgate.allocation.groups import groups_of
from headgate.model.pool import PoolView
from headgate.model.why import PoolPart
from headgate.view.words import divided

_MOST_BORROWERS: Final = 3


def parts(pool: PoolView, resource: str) -> list[PoolPart]:
    """Return who has what of a pool, who holds most first; only those that have or want any."""
    found = [
        PoolPart(
            tenant=tenant,
            held=member.held.get(resource, 0),
            wanted=member.wanted.get(resource, 0),
            allocated=member.allocated.get(resource, 0),
            guaranteed=member.guaranteed.get(resource, 0),
        )
        for tenant, member in pool.members.items()
    ]
    return sorted(
        (part for part in found if part.held or part.wanted),
        key=lambda part: (-part.held, -part.wanted, part.tenant),
    )


def why_no_more(tenant: str, resource: str, needed: int, pool: PoolView) -> str:
    """Return in clauses, each after a semicolon, what keeps a tenant from more of a pool.

    Args:
        tenant: Whose.
        resource: Of which resource.
        needed: Units that it would have to have for its next job to begin.
        pool: As it is.
    """
    shares = parts(pool, resource)
    clauses = [
        _given_out(resource, shares, pool),
        *_full_groups(tenant, resource, needed, pool),
        *_lent(tenant, shares),
    ]
    return "".join(f"; {clause}" for clause in clauses)


def _given_out(resource: str, shares: list[PoolPart], pool: PoolView) -> str:
    given = sum(member.allocated.get(resource, 0) for member in pool.members.values())
    how = divided(
        pool.settings.strategy,
        len(pool.members),
        sum(part.wanted > part.allocated for part in shares),
        len(pool.unheard),
        pool.conditions,
    )
    capacity = pool.capacity.get(resource, 0)
    return f"{given} of the pool's {capacity} {resource} are given out ({how})"


def _full_groups(tenant: str, resource: str, needed: int, pool: PoolView) -> Iterator[str]:
    """Yield each group of a tenant that may not have what its next job needs."""
    mine = pool.members.get(tenant)
    lacking = max(1, needed - (0 if mine is None else mine.ceiling.get(resource, 0)))
    for name, limit in groups_of(pool.settings, tenant):
        has = sum(
            member.ceiling.get(resource, 0)
            for other, member in pool.members.items()
            if name in dict(groups_of(pool.settings, other))
        )
        if limit is not None and has + lacking > limit:
            yield f"group {name} may have {limit} together and has {has}"


def _lent(tenant: str, shares: list[PoolPart]) -> Iterator[str]:
    """Say who has what is guaranteed to a tenant that lacks it; nothing if it lacks nothing."""
    mine = next((one for one in shares if one.tenant == tenant), None)
    if mine is None or mine.held >= mine.guaranteed:
        return
    others = sorted(shares, key=lambda one: (one.guaranteed - one.held, one.tenant))
    borrow = [
        f"{one.tenant} ({one.held - one.guaranteed})" for one in others if one.held > one.guaranteed
    ]
    if not borrow:
        return
    more = len(borrow) - _MOST_BORROWERS
    names = ", ".join(borrow[:_MOST_BORROWERS]) + (f" and {more} more" if more > 0 else "")
    yield (
        f"{mine.guaranteed} are guaranteed to {tenant}, which gets them as they come back from "
        f"those who hold more than is guaranteed to them: {names}"
    )
