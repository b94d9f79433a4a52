"""Serving the API, as long as a block lasts."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from typing import Final

from headgate.api.app import asgi
from headgate.api.listening import listening
from headgate.api.service import Service
from headgate.api.settings import ApiSettings, OidcSettings
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.store.database import Database
from headgate.store.keys import KeyStore

DEFAULT_PORT: Final = 8088
_END_S: Final = 3


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def settings_for(
    database: Database,
    host: str,
    user: str,
    oidc: OidcSettings | None = None,
    public_url: str | None = None,
    temporal_ui: str | None = None,
    namespace: str = "default",
) -> ApiSettings:
    """Return how an API may be served at a host.

    Without any key and without OIDC nobody can say who it is. Then it is open to whoever works on
    this machine, and served nowhere else.

    Args:
        database: Migrated.
        host: Where it will listen.
        user: Who runs it, for the audit of an open one.
        oidc: Whose tokens are believed.
        public_url: How browsers reach it.
        temporal_ui: For links.
        namespace: For links.

    Raises:
        ConfigurationError: It would be open to others.
    """
    is_open = oidc is None and not await KeyStore(database).any()
    if is_open and not is_loopback(host):
        raise ConfigurationError(
            f"--host {host} is reached from other machines, and nobody could say who it is: make "
            "a key with headgate keys create, or set up OIDC (--oidc-issuer)"
        )
    return ApiSettings(
        oidc=oidc,
        open_as=user if is_open else None,
        public_url=public_url,
        temporal_ui=temporal_ui,
        namespace=namespace,
    )


@contextlib.asynccontextmanager
async def serving(
    service: Service,
    host: str = "127.0.0.1",
    port: int = 0,
    trusted_proxy: str | None = None,
) -> AsyncIterator[str]:
    """Serve the API for the block.

    Args:
        service: What it works with.
        host: Where to listen.
        port: Where; 0: a free one.
        trusted_proxy: Whose word on the address of the caller is believed; None: nobody's.

    Yields:
        The base address, without a slash at its end.

    Raises:
        UnavailableError: The port is taken, or the host is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, which socket.create_server does not do: only then does asyncio send
    # small answers at once, and not 40 ms later (Nagle's algorithm against delayed ACKs).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"cannot listen on {host} port {port}: {error.strerror}; name another with --port"
        ) from error
    options = {
        "server_header": False,
        "proxy_headers": trusted_proxy is not None,
        "forwarded_allow_ips": trusted_proxy,
    }
    async with listening(asgi(service), listener, _END_S, **options) as bound:
        shown = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{shown}:{bound}"
        finally:
            service.feed.close()
