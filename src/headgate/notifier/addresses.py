"""Connecting only to addresses that were checked: what is checked is what is connected to."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import httpcore2

from headgate.model.channels import is_loopback
from headgate.model.errors import HeadgateError

_NAT64: Final = ip_network("64:ff9b::/96")
_PROTOCOLS: Final = ip_network("192.0.0.0/24")
"""For protocols of the IETF, and where a cloud has its metadata (192.0.0.192)."""

_METADATA: Final = {
    ip_address(one) for one in ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")
}
"""Where clouds tell a machine its secrets, beside the link-local 169.254.169.254."""


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
    """Refuse an address that alerts should not go to.

    Loopback is allowed where it is written as such (``localhost``, ``127.0.0.1``); a name that
    stands for it is a private address like others. What no service of anybody's has (link-local,
    with the metadata services of clouds; multicast; reserved) is always refused.

    Raises:
        RefusedAddressError: It is not allowed.
    """
    ip = _inner(ip_address(address.partition("%")[0]))
    if ip.is_loopback:
        if is_loopback(host) or allow_private:
            return
    elif _is_no_service(ip):
        raise RefusedAddressError(f"{host} is at {ip}, which is no address of a service: refused")
    elif allow_private or (ip.is_global and not getattr(ip, "is_site_local", False)):
        return
    raise RefusedAddressError(
        f"{host} is at {ip}, in a private network: refused without allow_private: true"
    )


def _is_no_service(ip: IPv4Address | IPv6Address) -> bool:
    odd = ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return odd or ip in _METADATA or ip in _PROTOCOLS


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else ip)
