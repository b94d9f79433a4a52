"""Which addresses alerts may go to, and which of them are written as such: no name is looked up."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_NAT64: Final = ip_network("64:ff9b::/96")
_PROTOCOLS: Final = ip_network("192.0.0.0/24")
"""For protocols of the IETF, and where a cloud has its metadata (192.0.0.192)."""

_METADATA: Final = {
    ip_address(one) for one in ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")
}
"""Where clouds tell a machine its secrets, beside the link-local 169.254.169.254."""

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, as it is written."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def literal(host: str) -> str | None:
    """Return the address that a host is written as, also as a number; None: it is a name.

    Numbers are read as C's ``inet_aton`` reads them, and with it whatever connects: ``0x7f.1`` and
    ``2130706433`` are 127.0.0.1.
    """
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    *bytes_, rest = [_number(part) for part in parts]
    if any(byte > 255 for byte in bytes_) or rest >= 256 ** (4 - len(bytes_)):
        return None
    above = sum(byte << (24 - 8 * place) for place, byte in enumerate(bytes_))
    return str(IPv4Address(above + rest))


def why_refused(address: str, host: str, allow_private: bool) -> str | None:
    """Return why alerts should not go to an address, as the end of a sentence; None: they may.

    Loopback is allowed where it is written as such (``localhost``, ``127.0.0.1``); a name that
    stands for it is a private address like others. What no service of anybody's has (link-local,
    with the metadata services of clouds; multicast; reserved) is always refused.
    """
    ip = _inner(ip_address(address.partition("%")[0]))
    if ip.is_loopback:
        if is_loopback(host) or allow_private:
            return None
    elif _is_no_service(ip):
        return f"is at {ip}, which is no address of a service: refused"
    elif allow_private or (ip.is_global and not getattr(ip, "is_site_local", False)):
        return None
    return f"is at {ip}, in a private network: refused without allow_private: true"


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part, 16)
    return int(part, 8 if part.startswith("0") else 10)


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
