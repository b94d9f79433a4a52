"""Which addresses alerts are sent to, and that the one that was checked is connected to."""

import asyncio
import socket
from typing import Any

import httpcore2
import pytest
from pydantic import ValidationError

from headgate.devstack.ports import LOOPBACK
from headgate.model.addresses import is_loopback, literal
from headgate.model.channels import SlackChannel
from headgate.model.contract import STORED
from headgate.notifier.addresses import CheckedBackend, RefusedAddressError, require_allowed
from tests.notifier.site import Endpoint, Site, alert, webhook

PRIVATE = [
    "10.0.0.1",
    "172.16.5.5",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::",
]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fe80::1%eth0",
    "224.0.0.1",
    "0.0.0.0",
    "::",
    "240.0.0.1",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.0.9",
    "64:ff9b::192.0.0.192",
    "fd00:ec2::254",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_allowed(address: str) -> None:
    with pytest.raises(RefusedAddressError, match="in a private network: refused without allow"):
        require_allowed(address, "hooks.example", allow_private=False)
    require_allowed(address, "hooks.example", allow_private=True)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_addresses_of_no_service_are_always_refused(address: str, allow_private: bool) -> None:
    with pytest.raises(RefusedAddressError, match="no address of a service"):
        require_allowed(address, "hooks.example", allow_private)


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "167838211", "0xa010203", "012.1.2.3", "10.66051", "10.1.515", "0xa.1.0x203"],
)
def test_an_address_is_known_however_it_is_written(host: str) -> None:
    assert literal(host) == "10.1.2.3"
    assert socket.inet_ntoa(socket.inet_aton(host)) == "10.1.2.3"


@pytest.mark.parametrize("host", ["10.example", "a.b", "1.2.3.4.5", "256.1.1.1", "08.1.1.1", ""])
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None


def test_what_was_applied_before_is_read_and_an_address_that_is_allowed_is_taken() -> None:
    url = "https://10.1.2.3/x"
    with pytest.raises(ValidationError, match="in a private network"):
        SlackChannel(kind="slack", url=url)
    assert SlackChannel(kind="slack", url=url, allow_private=True).url == url
    stored = SlackChannel.model_validate({"kind": "slack", "url": url}, context=STORED)
    assert stored.url == url


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_allowed(address: str) -> None:
    require_allowed(address, "hooks.example", allow_private=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_allowed_where_it_is_written(address: str) -> None:
    require_allowed(address, "localhost", allow_private=False)
    with pytest.raises(RefusedAddressError):
        require_allowed(address, "hooks.example", allow_private=False)
    assert is_loopback("127.0.0.1")
    assert not is_loopback("127.0.0.1.nip.io")


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names stand for other addresses with each look-up; returns what is looked up."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_is_looked_up_once_and_the_checked_address_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = resolving(monkeypatch, ["93.184.215.14"], ["10.0.0.1"])
    connected: list[str] = []

    async def connect(self: Any, host: str, *_: Any) -> httpcore2.AsyncNetworkStream:
        connected.append(host)
        return httpcore2.AsyncNetworkStream()

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    backend = CheckedBackend(allow_private=False)
    await backend.connect_tcp("hooks.example", 443)
    assert (asked, connected) == (["hooks.example"], ["93.184.215.14"])
    # The next time it stands for another one, which is refused.
    with pytest.raises(RefusedAddressError, match=r"hooks\.example is at 10\.0\.0\.1"):
        await backend.connect_tcp("hooks.example", 443)
    assert connected == ["93.184.215.14"]


async def test_a_name_with_one_address_that_is_not_allowed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(RefusedAddressError):
        await CheckedBackend(allow_private=False).connect_tcp("hooks.example", 443)


async def test_a_channel_at_a_private_address_needs_leave(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint()
    url = (await desk.serve(endpoint.app())).replace(LOOPBACK, "hooks.example")
    await desk.apply(channels={"ops": webhook(url, allow_http=True)})
    with monkeypatch.context() as patched:
        real = asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
            return await real(LOOPBACK if host == "hooks.example" else host, port, **options)

        patched.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        await desk.tell(alert(1))
        ((outcome, _, error),) = await desk.attempts("ops")
        assert outcome == "misconfigured"
        assert error == (
            "channel ops: hooks.example is at 127.0.0.1, in a private network: refused without "
            "allow_private: true"
        )
        assert endpoint.requests == []
        allowed = webhook(url, allow_http=True, allow_private=True)
        await desk.apply(channels={"ops": allowed})
        await desk.notifier.work()
    assert endpoint.ids == [alert(1).id]
    assert endpoint.requests[0][0]["host"].startswith("hooks.example:")


async def test_no_proxy_of_the_environment_is_used(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, endpoint = Endpoint(), Endpoint()
    url = await desk.serve(proxy.app())
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, url)
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(alert(1))
    assert (len(endpoint.requests), len(proxy.requests)) == (1, 0)
