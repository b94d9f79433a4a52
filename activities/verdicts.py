"""Taking in the verdicts that breakers push; runs in the gate's own process and task queue."""

from collections.abc import Callable

from temporalio import activity

from headgate.model.breaker import Verdict
from headgate.model.entity import PUSH_VERDICT


class VerdictActivities:
    """Activities of one gate.

    Args:
        take: What the gate does with a verdict; must not block.
    """

    def __init__(self, take: Callable[[Verdict], None]) -> None:
        self._take = take

    @activity.defn(name=PUSH_VERDICT)
    async def push_verdict(self, verdict: Verdict) -> None:
        """Take in a verdict."""
        self._take(verdict)
