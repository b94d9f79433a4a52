"""Connecting only to addresses that were checked: what is checked is what is connected to."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import httpcore2

from headgate.model.addresses import why_refused
from headgate.model.errors import HeadgateError


class RefusedAddressError(HeadgateError):
    """A destination that alerts are not sent to."""


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Looks a name up, checks every address of it, and connects to one of those.

    The name is looked up once and anew for each connection, so that it cannot stand for one address
    when it is checked and for another when it is connected to. TLS still verifies the name.

    Args:
        allow_private: Also addresses of private networks.
    """

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - so says the base class
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to an address of ``host`` that was checked.

        Raises:
            RefusedAddressError: One of its addresses is not allowed.
            httpcore2.ConnectError: No address takes the connection.
            httpcore2.ConnectTimeout: Not within ``timeout``.
        """
        try:
            async with asyncio.timeout(timeout):
                addresses = await _look_up(host, port)
                for address in addresses:
                    require_allowed(address, host, self._allow_private)
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError:
            raise httpcore2.ConnectTimeout("no connection in time") from None

    async def _first(
        self,
        addresses: list[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: httpcore2.ConnectError | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, None, local_address, socket_options
                )
            except httpcore2.ConnectError as error:
                failure = error
        assert failure is not None
        raise failure


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"{host} cannot be looked up: {error}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def require_allowed(address: str, host: str, allow_private: bool) -> None:
    """Refuse an address that alerts should not go to; see ``why_refused``.

    Raises:
        RefusedAddressError: It is not allowed.
    """
    why = why_refused(address, host, allow_private)
    if why is not None:
        raise RefusedAddressError(f"{host} {why}")
