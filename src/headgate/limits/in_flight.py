"""The limit of calls in flight: the fixed and the adaptive one, whichever is lower."""

from dataclasses import dataclass

from headgate.limits.concurrency import Concurrency
from headgate.model.limits import LimitPolicy
from headgate.model.reason import Reason, ReasonCode


@dataclass(frozen=True, slots=True)
class InFlightLimit:
    """How many calls may be in flight.

    Attributes:
        calls: So many; None: as many as there are.
        why: What sets it, for people.
    """

    calls: int | None
    why: str

    def refusal(self, downstream: str, in_flight: int) -> Reason | None:
        """Return why one more call has to wait, or None when it may begin.

        Args:
            downstream: The name, for people.
            in_flight: Calls in flight without it.
        """
        if self.calls is None or in_flight < self.calls:
            return None
        return Reason(
            code=ReasonCode.IN_FLIGHT,
            message=(
                f"{in_flight} calls to {downstream} are in flight, and {self.calls} may be: "
                f"{self.why}"
            ),
            limit=self.calls,
            used=in_flight,
            needed=1,
        )


def in_flight_limit(policy: LimitPolicy, adaptive: Concurrency | None) -> InFlightLimit:
    """Return the lower of the fixed and the adaptive limit.

    Args:
        policy: Of the downstream.
        adaptive: Its adaptive limit, if it has one; left aside when the policy has none.
    """
    fixed = policy.max_in_flight
    if policy.concurrency is None or adaptive is None:
        if fixed is None:
            return InFlightLimit(None, "nothing limits them")
        return InFlightLimit(fixed, "max_in_flight of the configuration")
    if fixed is not None and fixed <= adaptive.limit:
        return InFlightLimit(fixed, "max_in_flight of the configuration")
    if adaptive.last is None:
        return InFlightLimit(adaptive.limit, "what an adaptive limit begins with")
    return InFlightLimit(adaptive.limit, f"last changed from {adaptive.last.message}")
