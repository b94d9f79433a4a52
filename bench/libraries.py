"""The Python libraries that Headgate is compared with, each behind the same small protocol.

None is changed. Each reads the time from one name in its own module (or takes a clock), and that
name is replaced while a play runs; a call is begun and ended by driving the library's own coroutine
or context manager by hand, so no event loop, thread or sleep takes part:

- pybreaker: ``with breaker.calling()``, over which no lock is held, so that calls overlap;
  its time is ``pybreaker.datetime``.
- pybreaker ``call()``: ``breaker.call(f)``, which holds an RLock over the call; the same time.
- aiobreaker: ``breaker.call_async(f)``; ``datetime`` in its ``circuitbreaker`` and ``state``.
- purgatory: what ``AsyncCircuitBreakerFactory`` decorates; ``purgatory.domain.model.time``.
- circuitbreaker: what ``CircuitBreaker.decorate`` decorates; ``circuitbreaker.monotonic``.
- interlock-cb: ``breaker.call_async(f)``; its ``clock`` argument.
"""

import importlib
import importlib.util
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from types import SimpleNamespace
from typing import Any, Final, Protocol
from unittest.mock import patch

from bench.stage import Agenda, Call, Stage

_BEGIN: Final = datetime(2025, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - not patched, unlike UTC


class CallFailed(Exception):  # noqa: N818 - it is what the downstream raises
    """The call failed; raised by the downstream, inside of the library's protection."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all contenders are set to, as far as they have it.

    Attributes:
        row: Opens after so many failures in a row.
        open_s: How long it stays open.
        rate: Opens at this share of failing or of slow calls ...
        min_calls: ... of so many calls or more ...
        window_s: ... in so many seconds.
        probes: Calls that a half-open breaker lets pass, where that can be set.
        slow_s: A call is slow from here on.
    """

    row: int = 5
    open_s: int = 30
    rate: float = 0.25
    min_calls: int = 20
    window_s: int = 30
    probes: int = 3
    slow_s: float = 1.0


class Ongoing(Protocol):
    """A call that the library has let pass."""

    def finish(self, ok: bool) -> None:
        """End it."""


class Guard(Protocol):
    """One breaker of one process."""

    def start(self) -> Ongoing | None:
        """Begin a call, or return None when the library refuses it."""

    def state(self) -> str:
        """Return ``closed``, ``open`` or ``half-open``."""


class _Suspended:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def downstream() -> None:
    """Wait until the driver says how the call ends."""
    await _Suspended()


class _Coroutine:
    """A library's coroutine, driven by hand."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], refusal: type[Exception]) -> None:
        self._coroutine = coroutine
        self._refusal = refusal

    def begin(self) -> "_Coroutine | None":
        try:
            self._coroutine.send(None)
        except self._refusal:
            return None
        return self

    def finish(self, ok: bool) -> None:
        try:
            if ok:
                self._coroutine.send(None)
            else:
                self._coroutine.throw(CallFailed())
        except (StopIteration, CallFailed, self._refusal):
            return
        raise AssertionError("the library's coroutine did not end with the call")


class _Block:
    """A library's context manager, driven by hand."""

    def __init__(self, block: Any, refusal: type[Exception]) -> None:
        self._block = block
        self._refusal = refusal

    def begin(self) -> "_Block | None":
        try:
            self._block.__enter__()
        except self._refusal:
            return None
        return self

    def finish(self, ok: bool) -> None:
        try:
            if ok:
                self._block.__exit__(None, None, None)
            else:
                failure = CallFailed()
                self._block.__exit__(CallFailed, failure, None)
        except (CallFailed, self._refusal):
            pass


class PyBreaker:
    """pybreaker."""

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        library = importlib.import_module("pybreaker")
        self.refusal: type[Exception] = library.CircuitBreakerError
        self.breaker = library.CircuitBreaker(fail_max=settings.row, reset_timeout=settings.open_s)

    def start(self) -> Ongoing | None:
        """Enter its context manager."""
        return _Block(self.breaker.calling(), self.refusal).begin()

    def state(self) -> str:
        """Return its state."""
        return str(self.breaker.current_state)


class AioBreaker:
    """aiobreaker."""

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        library = importlib.import_module("aiobreaker")
        self.refusal: type[Exception] = library.CircuitBreakerError
        self.breaker = library.CircuitBreaker(
            fail_max=settings.row, timeout_duration=timedelta(seconds=settings.open_s)
        )

    def start(self) -> Ongoing | None:
        """Drive ``call_async``."""
        return _Coroutine(self.breaker.call_async(downstream), self.refusal).begin()

    def state(self) -> str:
        """Return its state."""
        return str(self.breaker.current_state.name).lower().replace("_", "-")


class Purgatory:
    """purgatory."""

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        library = importlib.import_module("purgatory")
        model = importlib.import_module("purgatory.domain.model")
        self.refusal: type[Exception] = model.OpenedState
        self.factory = library.AsyncCircuitBreakerFactory(
            default_threshold=settings.row, default_ttl=settings.open_s
        )
        self._guarded = self.factory("downstream")(downstream)

    def start(self) -> Ongoing | None:
        """Drive the decorated coroutine."""
        return _Coroutine(self._guarded(), self.refusal).begin()

    def state(self) -> str:
        """Return its state."""
        context = self.factory.uow.contexts.breakers.get("downstream")
        names = {"closed": "closed", "opened": "open", "half-opened": "half-open"}
        return "closed" if context is None else names[context.state]


class CircuitBreaker:
    """circuitbreaker."""

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        library = importlib.import_module("circuitbreaker")
        self.refusal: type[Exception] = library.CircuitBreakerError
        self.breaker = library.CircuitBreaker(
            failure_threshold=settings.row, recovery_timeout=settings.open_s, name="downstream"
        )
        self._guarded = self.breaker.decorate(downstream)

    def start(self) -> Ongoing | None:
        """Drive the decorated coroutine."""
        return _Coroutine(self._guarded(), self.refusal).begin()

    def state(self) -> str:
        """Return its state."""
        return str(self.breaker.state).replace("_", "-")


class Interlock:
    """interlock-cb, which judges by rates."""

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        library = importlib.import_module("interlock")
        self.refusal: type[Exception] = library.CircuitOpenError
        clock = SimpleNamespace(monotonic=lambda: agenda.now_ms / 1000)
        config = library.Config(
            failure_rate_threshold=settings.rate,
            minimum_number_of_calls=settings.min_calls,
            slow_call_duration_threshold=settings.slow_s,
            slow_call_rate_threshold=settings.rate,
            permitted_calls_in_half_open=settings.probes,
            max_concurrent_probes=settings.probes,
            wait_duration_in_open=float(settings.open_s),
            window_type=library.WindowType.TIME_BASED,
            window_size=settings.window_s,
        )
        self.breaker = library.CircuitBreaker(name="downstream", config=config, clock=clock)

    def start(self) -> Ongoing | None:
        """Drive ``call_async``."""
        return _Coroutine(self.breaker.call_async(downstream), self.refusal).begin()

    def state(self) -> str:
        """Return its state."""
        return str(self.breaker.state.value).replace("_", "-")


class PerNode:
    """A fleet as these libraries make it: every process has a breaker of its own.

    Args:
        stage: Where the calls are made.
        guard: Makes one breaker.
    """

    def __init__(self, stage: Stage, guard: Callable[[], Guard]) -> None:
        self._stage = stage
        self._guards = [guard() for _ in range(stage.nodes)]
        self._ongoing: dict[int, Ongoing] = {}

    def offer(self, call: Call) -> None:
        """Ask the node's breaker."""
        guard = self._guards[call.node]
        ongoing = guard.start()
        if ongoing is None:
            self._stage.refuse(call)
        else:
            self._ongoing[call.id] = ongoing
            self._stage.make(call, guard.state() == "half-open")

    def settle(self, call: Call) -> None:
        """Tell the node's breaker."""
        answer = call.answer
        assert answer is not None
        self._ongoing.pop(call.id).finish(answer.ok)

    def abandon(self) -> None:
        """End what is still under way when the play is over.

        Left to the garbage collector, a block of pybreaker would be closed by ``GeneratorExit``,
        which pybreaker counts as a failure of the call.
        """
        while self._ongoing:
            self._ongoing.popitem()[1].finish(True)

    def keeps_away(self, node: int) -> bool:
        """Return whether the node's breaker is not closed."""
        return self._guards[node].state() != "closed"


class OneAtATime:
    """Processes whose threads use ``pybreaker.call``, which holds a lock over the whole call.

    The calls of a node wait for each other. As nobody else can look at the breaker in the meantime,
    a call is run in one go, with the time moved to its end within it.
    """

    def __init__(self, stage: Stage, settings: Settings) -> None:
        self._stage = stage
        self._guards = [PyBreaker(settings, stage.agenda) for _ in range(stage.nodes)]
        self._queues: list[deque[Call]] = [deque() for _ in range(stage.nodes)]
        self._busy = [False] * stage.nodes

    def offer(self, call: Call) -> None:
        """Take the lock, or wait for it."""
        self._queues[call.node].append(call)
        self._serve(call.node)

    def settle(self, call: Call) -> None:
        """Give the lock to the next."""
        self._busy[call.node] = False
        self._serve(call.node)

    def keeps_away(self, node: int) -> bool:
        """Return whether the node's breaker is not closed and its call has ended."""
        return not self._busy[node] and self._guards[node].state() != "closed"

    def _serve(self, node: int) -> None:
        queue, guard, agenda = self._queues[node], self._guards[node], self._stage.agenda
        while queue and not self._busy[node]:
            call = queue.popleft()
            begin_ms = agenda.now_ms
            call_it = self._caller(call, guard)
            with suppress(CallFailed, guard.refusal):
                guard.breaker.call(call_it)
            agenda.now_ms = begin_ms
            if call.made_at_ms is None:
                self._stage.refuse(call)
            else:
                self._busy[node] = True

    def _caller(self, call: Call, guard: PyBreaker) -> Callable[[], None]:
        def call_it() -> None:
            answer = self._stage.make(call, guard.state() == "half-open")
            self._stage.agenda.now_ms += answer.duration_ms
            if not answer.ok:
                raise CallFailed

        return call_it


def installed(module: str) -> bool:
    """Return whether a library can be imported."""
    return importlib.util.find_spec(module) is not None


@contextmanager
def simulated_time(agenda: Agenda) -> Iterator[None]:
    """Let the libraries read the time of an agenda."""

    class Moment(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            moment = _BEGIN + timedelta(milliseconds=agenda.now_ms)
            return moment.astimezone(tz) if tz else moment.replace(tzinfo=None)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now()

    def seconds() -> float:
        return agenda.now_ms / 1000

    names: tuple[tuple[str, str, Any], ...] = (
        ("pybreaker", "datetime", Moment),
        ("aiobreaker.circuitbreaker", "datetime", Moment),
        ("aiobreaker.state", "datetime", Moment),
        ("purgatory.domain.model", "time", SimpleNamespace(time=seconds)),
        ("circuitbreaker", "monotonic", seconds),
    )
    with ExitStack() as stack:
        for module, name, stand_in in names:
            if installed(module.partition(".")[0]):
                stack.enter_context(patch.object(importlib.import_module(module), name, stand_in))
        yield
