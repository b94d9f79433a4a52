"""Downstreams for the demo: HTTP services that fail, slow down and recover on a schedule."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headgate.devstack.observer import Observer
from headgate.devstack.trace import RecordedCall

CYCLE_S: Final = 40.0
"""The schedules below repeat after this time."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong with a service for a while.

    Attributes:
        begin_s: From when, in seconds from the beginning of a cycle.
        end_s: Until when.
        error_rate: The share of calls that are answered with 503.
        latency_ms: How long a call takes meanwhile.
    """

    begin_s: float
    end_s: float
    error_rate: float = 0.0
    latency_ms: int = 60


@dataclass(frozen=True, slots=True)
class Service:
    """A downstream of the demo.

    Attributes:
        name: Its name.
        resource: What its jobs count against.
        latency_ms: How long a call takes while all is well.
        troubles: What goes wrong, and when.
    """

    name: str
    resource: str
    latency_ms: int
    troubles: Sequence[Trouble]


SERVICES: Final = (
    Service("scanner", "scan", 700, (Trouble(5, 11, error_rate=1.0),)),
    Service("attestor", "attest", 250, (Trouble(15, 20, error_rate=0.7),)),
    Service("policy-engine", "evaluate", 150, (Trouble(7, 14, latency_ms=2_000),)),
)


def scheduled(service: Service, observer: Observer, seed: int = 7) -> Starlette:
    """Return a service that behaves as its schedule says, from the first moment on."""
    chance = random.Random(seed)
    began = time.monotonic()

    async def answer(request: Request) -> Response:
        now_s = (time.monotonic() - began) % CYCLE_S
        trouble = next((t for t in service.troubles if t.begin_s <= now_s < t.end_s), None)
        latency_ms = service.latency_ms if trouble is None else trouble.latency_ms
        failed = trouble is not None and chance.random() < trouble.error_rate
        return await _answer(request, observer, service.name, failed, latency_ms)

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


def recorded(calls: Sequence[RecordedCall], speed: float, observer: Observer) -> Starlette:
    """Return a service that answers each call of a trace as it was answered then.

    Each downstream of the trace is a path; the header ``x-call`` says which line is played.
    """

    async def answer(request: Request) -> Response:
        number = request.headers.get("x-call", "")
        if not number.isdecimal() or int(number) >= len(calls):
            return JSONResponse({"error": "x-call names no line of the trace"}, 400)
        call = calls[int(number)]
        duration_ms = call.duration_ms / speed
        return await _answer(request, observer, call.downstream, call.failed, duration_ms)

    return Starlette(routes=[Route("/{downstream:path}", answer, methods=["POST"])])


async def _answer(
    request: Request, observer: Observer, downstream: str, failed: bool, latency_ms: float
) -> Response:
    tenant = request.headers.get("x-tenant", "")
    resource = request.headers.get("x-resource", "")
    with observer.call(downstream, tenant, resource) as calls:
        await asyncio.sleep(latency_ms / 1000)
        if failed:
            calls.failed += 1
            return JSONResponse({"error": f"{downstream} is out of order"}, 503)
        return JSONResponse({"ok": True})
