"""What a ledger says of requests that a breaker refuses: asked seldom, and told in rank."""

import asyncio
from collections.abc import Sequence

import pytest

from headgate.gate import outlooks as module
from headgate.gate.outlooks import Outlooks, Wish
from headgate.gate.ticket import Refusal
from headgate.model.errors import UnavailableError
from headgate.model.ledger import LedgerCommand, Outlook, SetPause, SetThrottle
from headgate.model.reason import Reason, ReasonCode
from headgate.quota import Ledger
from tests.unit.ledgers import NOW_MS, make, quotas

LATER_MS = NOW_MS + 60_000
OPEN = Refusal(Reason(code=ReasonCode.BREAKER_OPEN, message="it is open"), LATER_MS)
FORCED = Refusal(Reason(code=ReasonCode.FORCED_OPEN, message="it is held open"), LATER_MS)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "monotonic_s", found)
    return found


class Asked:
    """A ledger in the place of its workflow, which counts how often it is asked."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.messages: list[list[Wish]] = []
        self.is_away = False
        self.outlooks = Outlooks(self._look, 100, lambda: 0.0)

    async def _look(self, wishes: Sequence[Wish]) -> list[Outlook]:
        self.messages.append([*wishes])
        if self.is_away:
            raise UnavailableError("it does not answer")
        return self.ledger.outlook([dict(wish) for wish in wishes], NOW_MS)

    async def told(self, refusal: Refusal = OPEN, **needs: int) -> Refusal:
        return await self.outlooks.ranked(refusal, needs)


def operate(ledger: Ledger, action: SetPause | SetThrottle) -> None:
    command = LedgerCommand(id=action.kind, actor="ada", reason="a drill", action=action)
    assert ledger.operate(command, NOW_MS).accepted


async def test_what_may_be_granted_waits_for_its_breaker_and_is_asked_about_twice_a_minute(
    clock: Clock,
) -> None:
    asked = Asked(make(max_active=9))
    told = await asyncio.gather(*(asked.told(scan=4) for _ in range(9)))
    assert all(one is OPEN for one in told)
    assert len(asked.messages) == 1
    for clock.now_s, units in ((1.0, 4), (2.0, 3), (29.0, 1)):
        assert await asked.told(scan=units) is OPEN, "what asks for less is known as well"
    assert len(asked.messages) == 1
    assert await asked.told(scan=5) is OPEN
    assert asked.messages[1:] == [[(("scan", 5),)]]
    clock.now_s = 60.0
    assert [await asked.told(scan=1) for _ in range(3)] == [OPEN] * 3
    await asyncio.gather(*asked.outlooks._asking)
    assert asked.messages[2:] == [[(("scan", 5),)]], "once more, and nobody waits for it"


async def test_what_has_changed_meanwhile_is_told_from_the_next_time_on(clock: Clock) -> None:
    ledger = make(max_active=9)
    asked = Asked(ledger)
    assert await asked.told(scan=4) is OPEN
    ledger.configure(quotas(scan={"max_active": 2}), NOW_MS)
    clock.now_s = 31.0
    assert await asked.told(scan=4) is OPEN
    await asyncio.gather(*asked.outlooks._asking)
    assert (await asked.told(scan=4)).retry_at_ms is None
    assert (await asked.told(scan=3)).retry_at_ms is None
    assert await asked.told(scan=2) is OPEN


async def test_what_can_never_be_granted_is_refused_for_good_in_the_rank_of_reasons() -> None:
    asked = Asked(make(max_active=2))
    never = await asked.told(OPEN, scan=3)
    assert (never.reason.code, never.retry_at_ms) == (ReasonCode.CAN_NEVER_FIT, None)
    assert (never.reason.limit, never.reason.needed) == (2, 3)
    never = await asked.told(FORCED, scan=3)
    assert (never.reason.code, never.retry_at_ms) == (ReasonCode.FORCED_OPEN, None)
    assert never.reason.message.startswith("it is held open; and 3 of scan asked for, but the max")
    stranger = await asked.told(FORCED, scan=1, mail=1)
    assert (stranger.reason.code, stranger.retry_at_ms) == (ReasonCode.UNKNOWN_RESOURCE, None)


async def test_a_pause_is_told_before_a_breaker_and_the_later_end_of_both(clock: Clock) -> None:
    ledger = make(max_active=2)
    asked = Asked(ledger)
    operate(ledger, SetThrottle(resource="scan", share=0, until_ms=LATER_MS + 1))
    told = await asked.told(FORCED, scan=1)
    assert (told.reason.code, told.retry_at_ms) == (ReasonCode.SUSPENDED, LATER_MS + 1)
    assert not told.reason.endless
    operate(ledger, SetPause(resource="*"))
    clock.now_s = 6.0  # what people may end is asked about sooner
    told = await asked.told(FORCED, scan=1)
    assert told.reason.endless
    assert told.retry_at_ms == LATER_MS, "people may end it while the breaker is shut"


async def test_whoever_does_not_say_is_left_alone_for_a_while(clock: Clock) -> None:
    asked = Asked(make(max_active=2))
    asked.is_away = True
    assert [await asked.told(scan=units) for units in (3, 4, 5)] == [OPEN] * 3
    assert len(asked.messages) == 1
    asked.is_away, clock.now_s = False, 6.0
    assert (await asked.told(scan=3)).retry_at_ms is None
