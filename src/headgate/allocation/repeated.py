"""Dividing the same pool again and again, at the cost of a division only when it can matter.

A governor divides many times a second, and between two times most often nothing has changed but how
much more is wanted by somebody who had less than it wanted before. Max-min fairness gives that one
no more for it: its demand does not limit its part, so the answer is the same.
"""

from collections.abc import Sequence

from headgate.allocation.claims import Claim, Division, Group
from headgate.allocation.strategies import Flat, divide
from headgate.model.pool import Strategy


class RepeatedDivision:
    """Returns what ``divide`` would; holds no truth of its own."""

    def __init__(self) -> None:
        self._asked: tuple[int, Strategy, list[Group], bool] | None = None
        self._claims: list[Claim] = []
        self._answer: Division | None = None
        self._rights: object = None
        self._flat: tuple[Strategy, Flat] | None = None

    def divide(
        self,
        capacity: int,
        strategy: Strategy,
        claims: list[Claim],
        groups: Sequence[Group],
        *,
        scale: bool = True,
        rights: object = None,
    ) -> Division:
        """Divide; see ``strategies.divide``. The claims are by name, and not changed later.

        Args:
            capacity: Units.
            strategy: How.
            claims: One for each tenant.
            groups: That they are in.
            scale: See there.
            rights: Equal to that of last time when nothing but demands is new in the claims; None:
                not known.
        """
        asked = (capacity, strategy, list(groups), scale)
        is_known = rights is not None and rights == self._rights
        if self._answer is None or asked != self._asked or not self._same(claims, is_known):
            if groups:
                self._answer = divide(capacity, strategy, claims, groups, scale=scale)
            else:
                if self._flat is None or not is_known or self._flat[0] is not strategy:
                    self._flat = strategy, Flat(strategy, claims)
                demands = [claim.demand for claim in claims]
                self._answer = self._flat[1].divide(capacity, demands, scale=scale)
            self._asked, self._claims, self._rights = asked, claims, rights
        return self._answer

    def _same(self, claims: list[Claim], is_known: bool) -> bool:
        """Return whether the answer of last time holds for these claims as well."""
        before = self._claims
        if len(claims) != len(before) or self._answer is None:
            return False
        parts = self._answer.allocations
        for new, old in zip(claims, before, strict=True):
            if new is old or new == old:
                continue
            # Above its part and its guarantee before and after, the demand limits nothing.
            above = max(parts.get(new.tenant, 0), new.guaranteed)
            if new.demand <= above or old.demand <= above:
                return False
            if not is_known and not _same_right(new, old):
                return False
        return True


def _same_right(new: Claim, old: Claim) -> bool:
    """Return whether two claims of one tenant differ in their demand only."""
    return (
        new.tenant == old.tenant
        and new.weight == old.weight
        and new.priority == old.priority
        and new.guaranteed == old.guaranteed
        and new.borrow_limit == old.borrow_limit
        and new.lend_limit == old.lend_limit
        and new.maximum == old.maximum
        and new.fixed == old.fixed
        and new.group == old.group
    )
