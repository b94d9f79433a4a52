"""An HTTP server inside this process, for as long as a block lasts."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from headgate.model.errors import UnavailableError


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program that this server is a part of."""
        yield


@contextlib.asynccontextmanager
async def listening(
    app: ASGIApp, listener: socket.socket, end_s: int, **options: Any
) -> AsyncIterator[int]:
    """Serve an application for the block.

    Args:
        app: What to serve.
        listener: Where; it is closed at the end.
        end_s: How long what is under way at the end may take.
        options: More, for uvicorn.

    Yields:
        The port.

    Raises:
        UnavailableError: It does not start.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        access_log=False,
        timeout_graceful_shutdown=end_s,
        **options,
    )
    server = _Server(config)
    port: int = listener.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise UnavailableError(f"the server on port {port} ended as soon as it started")
            await asyncio.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        await task
        listener.close()
