"""What one guarded call costs, in each library and in ours; see ``bench.breakers``.

Each contender is a function that makes ``n`` calls. They take turns within every round, so that a
busy moment of the machine meets all of them; the rounds' medians are compared. The asyncio
libraries are driven without an event loop: what it would add is not theirs.
"""

import gc
import importlib
import statistics
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from bench.libraries import (
    AioBreaker,
    CallFailed,
    CircuitBreaker,
    Interlock,
    Purgatory,
    PyBreaker,
    Settings,
    installed,
)
from bench.ours import single
from bench.stage import Agenda
from headgate.model.breaker import CallOutcome
from headgate.model.policy import BreakerPolicy

BASE: Final = "pybreaker call()"

Many = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds per call over all rounds, and how they compare with pybreaker's.

    Attributes:
        median_ns: The median of the rounds.
        low_ns: The lower quartile.
        high_ns: The upper quartile.
        ratio: The median of the ratios to pybreaker, round by round; null without pybreaker.
    """

    median_ns: float
    low_ns: float
    high_ns: float
    ratio: float | None


def measure(calls: int = 2_000, rounds: int = 41) -> dict[str, dict[str, Cost]]:
    """Return the cost of an admitted call and of a refused one, for each contender."""
    return {
        "admitted": take_turns(_admitted(), calls, rounds),
        "refused": take_turns(_refused(), calls, rounds),
    }


def take_turns(contenders: dict[str, Many], calls: int, rounds: int) -> dict[str, Cost]:
    """Return what a call costs each contender, measured in turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for many in contenders.values():
        many(calls)  # warm
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            names = list(contenders)
            names = names[turn % len(names) :] + names[: turn % len(names)]
            for name in names:
                begin = time.perf_counter_ns()
                contenders[name](calls)
                times[name].append((time.perf_counter_ns() - begin) / calls)
    finally:
        if was_enabled:
            gc.enable()
    return {name: _cost(times[name], times.get(BASE)) for name in contenders}


def _cost(times: list[float], base: list[float] | None) -> Cost:
    low, median, high = statistics.quantiles(times, n=4)
    ratios = None if base is None else [mine / its for mine, its in zip(times, base, strict=True)]
    return Cost(median, low, high, None if ratios is None else statistics.median(ratios))


def _work() -> None:
    """Be the cheapest call there is."""


async def _async_work() -> None:
    """Be the cheapest coroutine there is."""


def _policies() -> dict[str, BreakerPolicy]:
    settings = Settings()
    return {
        "consecutive": BreakerPolicy(failure_rate=None, consecutive_failures=settings.row),
        "rate": BreakerPolicy(
            failure_rate=settings.rate, min_calls=settings.min_calls, slow_call_ms=1_000
        ),
    }


def _admitted() -> dict[str, Many]:
    contenders: dict[str, Many] = {"no breaker": _plain}
    for name, policy in _policies().items():
        contenders[f"headgate {name}"] = _ours(policy)
        contenders[f"headgate {name}, with the clock"] = _ours_with_clock(policy)
    return contenders | libraries()


def libraries() -> dict[str, Many]:
    """Return admitted calls through each library that is installed."""
    contenders: dict[str, Many] = {}
    settings, agenda = Settings(), Agenda()
    if installed("pybreaker"):
        contenders[BASE] = _sync(PyBreaker(settings, agenda).breaker.call)
    if installed("circuitbreaker"):
        breaker = importlib.import_module("circuitbreaker").CircuitBreaker(name="sync")
        contenders["circuitbreaker"] = _sync_decorated(breaker.decorate(_work))
    if installed("interlock"):
        contenders["interlock-cb"] = _sync(Interlock(settings, agenda).breaker.call)
        contenders["interlock-cb, async"] = _driven(_bound(Interlock(settings, agenda).breaker))
    if installed("aiobreaker"):
        contenders["aiobreaker, async"] = _driven(_bound(AioBreaker(settings, agenda).breaker))
    if installed("purgatory"):
        guarded = Purgatory(settings, agenda).factory("downstream")(_async_work)
        contenders["purgatory, async"] = _driven(guarded)
    return contenders


def _refused() -> dict[str, Many]:
    contenders: dict[str, Many] = {}
    for name, policy in _policies().items():
        contenders[f"headgate {name}"] = _ours_open(policy)
    settings, agenda = Settings(open_s=86_400), Agenda()
    if installed("pybreaker"):
        pybreaker = PyBreaker(settings, agenda)
        _open(pybreaker.start)
        contenders[BASE] = _refused_sync(pybreaker.breaker.call, pybreaker.refusal)
    if installed("circuitbreaker"):
        circuit = CircuitBreaker(settings, agenda)
        _open(circuit.start)
        decorated = circuit.breaker.decorate(_work)
        contenders["circuitbreaker"] = _refused_sync(lambda _: decorated(), circuit.refusal)
    if installed("interlock"):
        interlock = Interlock(settings, agenda)
        _open(interlock.start)
        contenders["interlock-cb"] = _refused_sync(interlock.breaker.call, interlock.refusal)
    if installed("aiobreaker"):
        aiobreaker = AioBreaker(settings, agenda)
        _open(aiobreaker.start)
        contenders["aiobreaker, async"] = _refused_driven(
            _bound(aiobreaker.breaker), aiobreaker.refusal
        )
    if installed("purgatory"):
        purgatory = Purgatory(settings, agenda)
        _open(purgatory.start)
        contenders["purgatory, async"] = _refused_driven(
            purgatory.factory("downstream")(_async_work), purgatory.refusal
        )
    return contenders


def _open(start: Callable[[], Any]) -> None:
    """Let calls fail until the breaker is open."""
    while (ongoing := start()) is not None:
        ongoing.finish(False)


def _bound(breaker: Any) -> Callable[[], Coroutine[Any, Any, None]]:
    def call() -> Coroutine[Any, Any, None]:
        coroutine: Coroutine[Any, Any, None] = breaker.call_async(_async_work)
        return coroutine

    return call


def _plain(n: int) -> None:
    for _ in range(n):
        _work()


def _ours(policy: BreakerPolicy) -> Many:
    breaker = single(policy, Agenda())
    admit, settle, success = breaker.admit, breaker.settle, CallOutcome.SUCCESS
    now = [0]

    def many(n: int) -> None:
        begin = now[0]
        for now_ms in range(begin, begin + n):  # a call a millisecond, so the window moves
            given = admit(now_ms)
            assert given is not None
            _work()
            settle(given, success, now_ms, 0)
        now[0] += n

    return many


def _ours_with_clock(policy: BreakerPolicy) -> Many:
    agenda = Agenda(time.monotonic_ns() // 1_000_000)
    breaker = single(policy, agenda)
    admit, settle, success = breaker.admit, breaker.settle, CallOutcome.SUCCESS
    clock = time.monotonic_ns

    def many(n: int) -> None:
        for _ in range(n):
            begin_ms = clock() // 1_000_000
            given = admit(begin_ms)
            assert given is not None
            _work()
            now_ms = clock() // 1_000_000
            settle(given, success, now_ms, now_ms - begin_ms)

    return many


def _ours_open(policy: BreakerPolicy) -> Many:
    breaker = single(policy, Agenda())
    while (given := breaker.admit(0)) is not None:
        breaker.settle(given, CallOutcome.FAILURE, 0)
    admit = breaker.admit

    def many(n: int) -> None:
        for _ in range(n):
            if admit(1) is not None:
                raise AssertionError("it is not open")

    return many


def _sync(call: Callable[[Callable[[], None]], Any]) -> Many:
    def many(n: int) -> None:
        for _ in range(n):
            call(_work)

    return many


def _sync_decorated(guarded: Callable[[], None]) -> Many:
    def many(n: int) -> None:
        for _ in range(n):
            guarded()

    return many


def _driven(begin: Callable[[], Coroutine[Any, Any, Any]]) -> Many:
    def many(n: int) -> None:
        for _ in range(n):
            try:
                begin().send(None)
            except StopIteration:
                continue
            raise AssertionError("the coroutine waits")

    return many


def _refused_sync(call: Callable[[Callable[[], None]], Any], refusal: type[Exception]) -> Many:
    def many(n: int) -> None:
        for _ in range(n):
            try:
                call(_work)
            except refusal:
                continue
            raise CallFailed

    return many


def _refused_driven(
    begin: Callable[[], Coroutine[Any, Any, Any]], refusal: type[Exception]
) -> Many:
    def many(n: int) -> None:
        for _ in range(n):
            try:
                begin().send(None)
            except refusal:
                continue
            raise CallFailed

    return many
