"""Stand-ins for the three services, to try the example with: ``python services.py``.

They listen on this machine alone, and answer after half a second. With ``--broken scanner`` that
one fails; started again without it, it has recovered.
"""

import argparse
import asyncio

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ANSWER = {"report": "clean", "attestation": "signed", "allowed": True}


def services(broken: list[str]) -> Starlette:
    """Return all of them: each is a path."""

    async def answer(request: Request) -> JSONResponse:
        await asyncio.sleep(0.5)
        status = 503 if request.path_params["service"] in broken else 200
        return JSONResponse(ANSWER, status)

    return Starlette(routes=[Route("/{service}", answer, methods=["POST"])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--broken", action="append", default=[], metavar="SERVICE")
    chosen = parser.parse_args()
    uvicorn.run(services(chosen.broken), host="127.0.0.1", port=chosen.port, log_level="warning")
