"""An HTTP server inside this process, on a free port of the loopback interface."""

import contextlib
import socket
from collections.abc import AsyncIterator

from starlette.applications import Starlette

from headgate.api.listening import listening
from headgate.devstack.ports import LOOPBACK, free_port


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
    async with listening(app, listener, end_s=1) as bound:
        yield f"http://{LOOPBACK}:{bound}"
