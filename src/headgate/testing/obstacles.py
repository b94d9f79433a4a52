"""What a test puts in the way of those who ask a fake gate."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass

from headgate.model.contract import is_name
from headgate.model.reason import Reason
from headgate.orchestrator.mistakes import shown
from headgate.testing.records import Asked


@dataclass(frozen=True, slots=True)
class Match:
    """Whom an obstacle concerns: all that is given must fit.

    Attributes:
        tenant: For whom is asked; None: whoever.
        resource: Of what, alone or among others; None: whatever.
        downstream: What is to be called; None: whatever, also nothing.

    Raises:
        ValueError: One of them is no name.
    """

    tenant: str | None = None
    resource: str | None = None
    downstream: str | None = None

    def __post_init__(self) -> None:
        for what, name in asdict(self).items():
            if name is not None:
                require_name(what, name)

    def fits(self, asked: Asked) -> bool:
        """Return whether it concerns what is asked."""
        return (
            self.tenant in (None, asked.tenant)
            and self.downstream in (None, asked.downstream)
            and (self.resource in (None, asked.resource) or self.resource in asked.also)
        )


class Denial:
    """Refuses, until it is lifted or its time is over.

    Attributes:
        match: Whom.
        reason: What they are told.
    """

    def __init__(self, match: Match, reason: Reason, retry_in_ms: int | None) -> None:
        self.match = match
        self.reason = reason
        self._retry_in_ms = retry_in_ms
        self._until_ms: dict[str, int] = {}
        self._is_lifted = False

    def lift(self) -> None:
        """Refuse nobody any more."""
        self._is_lifted = True

    def left_ms(self, job: str, now_ms: int) -> int | None:
        """Return for how long it still refuses a job that asks now; None: for good.

        The time counts for each job from its first refusal, so that who comes again when told to
        is let in. (It cannot be the same for all: a server that skips time leaps by ten years when
        a job ends, which is the time that jobs may take by default.)
        """
        if self._retry_in_ms is None:
            return None
        return self._until_ms.setdefault(job, now_ms + self._retry_in_ms) - now_ms

    def is_over(self, job: str, now_ms: int) -> bool:
        """Return whether a job is not refused any more."""
        return self._is_lifted or now_ms >= self._until_ms.get(job, now_ms + 1)


@dataclass(slots=True, eq=False)
class Waiting:
    """One who stands in a line: what is asked, and how to say that the turn has come."""

    asked: Asked
    tell: Callable[[], None]


class Line:
    """Lets those wait whom it concerns, until the test grants.

    Attributes:
        match: Whom.
    """

    def __init__(self, match: Match) -> None:
        self.match = match
        self.is_open = False
        self._waiting: list[Waiting] = []
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> list[Asked]:
        """What waits, in the order in which it came."""
        return [one.asked for one in self._waiting]

    async def until(self, count: int = 1, within_s: float = 10) -> None:
        """Wait until so many stand in the line.

        Raises:
            TimeoutError: They did not come.
            ValueError: ``count`` is no number of those who wait.
        """
        _require_count(count)
        async with asyncio.timeout(within_s):
            while len(self._waiting) < count:
                await self._changed.wait()

    def grant(self, count: int | None = None) -> None:
        """Let so many pass, those first who came first.

        Args:
            count: None: all that wait, and from now on whoever comes.

        Raises:
            ValueError: ``count`` is no number of those who wait.
        """
        if count is None:
            self.is_open = True
        else:
            _require_count(count)
        for one in self._waiting[:count]:
            self.leave(one)
            one.tell()

    # For the gate ------------------------------------------------------------------------------

    def join(self, one: Waiting) -> None:
        """Stand in the line."""
        self._waiting.append(one)
        self._tell_test()

    def leave(self, one: Waiting) -> None:
        """Stand in it no more."""
        if one in self._waiting:
            self._waiting.remove(one)
            self._tell_test()

    def withdraw(self, id: str) -> None:
        """Take out what was asked under this id."""
        for one in [one for one in self._waiting if one.asked.id == id]:
            self.leave(one)

    def _tell_test(self) -> None:
        self._changed.set()
        self._changed.clear()


def require_name(what: str, name: str) -> None:
    """Refuse what nobody could be called.

    Raises:
        ValueError: It is no text, or not what a configuration takes for a name.
    """
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(
            f"FakeGate: {what} is {shown(name)}: write a name, such as 'scanner' (letters, digits "
            "and . _ : @ / + -)"
        )


def _require_count(count: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"Line: count is {shown(count)}: write how many, at least 0")
