"""What a gate answers about one downstream, with a breaker that only listens."""

from typing import Any, cast

from headgate.gate.clock import now_ms
from headgate.gate.downstream import Downstream
from headgate.gate.ticket import Refusal, Ticket
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import BreakerState, Verdict
from headgate.model.reason import ReasonCode


class QuietBreaker:
    """Takes every report, and answers the verdict that it was given."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    async def signal(self, *_: Any, **__: Any) -> None:
        """Take a report."""

    async def query(self, *_: Any, **__: Any) -> Verdict:
        """Answer."""
        return self._verdict


async def test_a_throttled_call_is_told_who_cut_it_and_when_to_ask_again() -> None:
    verdict = Verdict(
        downstream="scanner",
        state=BreakerState.CLOSED,
        epoch=3,
        allow="ramp",
        most=0.125,
        reason="no failures seen; cut to 12.5% by ada: vendor asked",
    )
    breaker = cast(GovernanceWorkflow, QuietBreaker(verdict))
    downstream = Downstream("scanner", "gate", "queue", breaker)
    answers = [await downstream.admit(f"call-{nth}", "tenant") for nth in range(5)]
    assert isinstance(answers[0], Ticket)
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert refused
    for refusal in refused:
        assert refusal.reason.code is ReasonCode.RAMP
        assert refusal.reason.message == (
            "12.5% of the calls to scanner pass now: "
            "no failures seen; cut to 12.5% by ada: vendor asked"
        )
        assert refusal.retry_at_ms is not None
        assert 0 < refusal.retry_at_ms - now_ms() <= 2_000
    await downstream.close()
