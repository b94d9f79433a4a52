"""An HTTP server inside this process, on a free port of the loopback interface."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette

from headgate.devstack.ports import LOOPBACK, free_port


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program that this server is a part of."""
        yield


@contextlib.asynccontextmanager
async def serving(app: Starlette, port: int | None = None) -> AsyncIterator[str]:
    """Serve ``app`` for the block.

    Args:
        app: What to serve.
        port: Where; a free port when None.

    Yields:
        The base address, without a slash at its end.
    """
    # Bound here and kept: nobody can take the port before the server listens.
    port = port or free_port()
    listener = socket.create_server((LOOPBACK, port))
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError(f"the server on port {port} ended as soon as it was started")
            await asyncio.sleep(0.01)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        await task
        listener.close()
