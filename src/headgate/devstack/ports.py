"""Ports on the loopback interface."""

import random
import socket

from headgate.model.errors import UnavailableError

LOOPBACK = "127.0.0.1"

# Below the range from which systems pick the local end of outgoing connections (Linux from 32768,
# macOS and IANA from 49152): there, a client that keeps trying to reach a server that is being
# restarted would sooner or later be given the server's own port and block it.
CANDIDATES = range(20_000, 32_000)
ATTEMPTS = 50


def free_port() -> int:
    """A port that nothing listens on now."""
    for _ in range(ATTEMPTS):
        port = random.choice(CANDIDATES)
        if is_free(port):
            return port
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port = listener.getsockname()[1]
        assert isinstance(port, int)
        return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port."""
    with socket.socket() as listener:
        # As servers do: connections that have just been closed do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen()
        except OSError:
            return False
        return True


def require_free(port: int, purpose: str) -> None:
    """Checks a port that was asked for.

    Args:
        port: The port.
        purpose: What it is for, as in "the Temporal UI".

    Raises:
        UnavailableError: Something else uses it.
    """
    if not is_free(port):
        raise UnavailableError(
            f"port {port} on {LOOPBACK}, meant for {purpose}, cannot be used: something else"
            " listens on it; stop that or choose another port"
        )
