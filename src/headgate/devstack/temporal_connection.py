"""Whether a Temporal server answers, asked so that the question itself always ends.

The SDK's connect has no deadline, and one that was given up on from Python goes on in the SDK's own
threads. Should the interpreter end before it does, the process hangs or crashes. So every attempt
here is made to end in the SDK itself: a keepalive of a second finds out a server that accepts
connections and says nothing, and an address that does not even do that is not given to the SDK.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import KeepAliveConfig, RPCError, RPCStatusCode

from headgate.model.errors import ConfigurationError, UnavailableError

TIMEOUT_S = 5.0
KEEP_ALIVE = KeepAliveConfig(interval_millis=1000, timeout_millis=1000)
ATTEMPT_S = 2.5
"""Longer than the keepalive needs to end an attempt."""

AWAY: Final = (
    RPCStatusCode.CANCELLED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.UNAVAILABLE,
)
"""How a call ends that nobody has answered."""

_STATUS: Final = re.compile(r'Status { code: \w+, message: "(.*?)"[,}]')
_CERTIFICATE: Final = re.compile(r"InvalidCertificate\((?:Other\(OtherError\()?(\w+)")

REMEDY = "start it, correct TEMPORAL_ADDRESS, or unset it to use the embedded server"


async def serves(address: str, namespace: str = "default") -> bool:
    """Whether a server on this machine answers and has this namespace."""
    try:
        client = await _connect({"target_host": address, "namespace": namespace})
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=namespace), timeout=timedelta(seconds=2)
        )
    except (RuntimeError, RPCError):
        return False
    return True


async def require_external(environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> str:
    """Checks the server that ``TEMPORAL_ADDRESS`` names, with the other ``TEMPORAL_*`` settings.

    Args:
        environ: The environment.
        timeout_s: How long it may take to answer.

    Returns:
        Its address.

    Raises:
        UnavailableError: It does not answer.
        ConfigurationError: The address is not one.
    """
    address = environ["TEMPORAL_ADDRESS"]
    try:
        config = ClientConfig.load_client_connect_config(
            disable_file=True, override_env_vars=dict(environ)
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(
            f"Temporal's client configuration (the TEMPORAL_ variables): {reason}"
        ) from error
    await require_answer(config, timeout_s, REMEDY)
    return address


async def require_answer(config: ClientConnectConfig, timeout_s: float, remedy: str) -> None:
    """Checks that the server of a client configuration answers.

    Args:
        config: How to connect; with a ``target_host`` of the form host:port.
        timeout_s: How long it may take.
        remedy: What to do about it, for the error.

    Raises:
        UnavailableError: It does not answer.
        ConfigurationError: Its address is not one.
    """
    address = config["target_host"]
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65_536
    if not host or not is_port or "/" in host:
        raise ConfigurationError(
            f"Temporal's address is {address!r}, which is not host:port, as in 127.0.0.1:7233"
        )
    tls = bool(config.get("tls") or config.get("api_key"))
    try:
        async with asyncio.timeout(timeout_s):
            await _reach(host.strip("[]"), int(port), tls=tls)
            await _connect(config)
    except TimeoutError as error:
        reason = f"no answer within {timeout_s:g} s"
        raise UnavailableError(
            f"Temporal at {address}: {reason}; {remedy}", "Temporal does not answer"
        ) from error
    except (OSError, RuntimeError, UnicodeError) as error:
        raise no_answer(address, error, remedy) from error


def no_answer(
    address: str, error: OSError | RuntimeError | UnicodeError | RPCError, remedy: str
) -> UnavailableError:
    """Return in plain words what stands between here and Temporal.

    The SDK tells of it in the words of the libraries that it is made of.

    Args:
        address: Of the server.
        error: Of connecting, or of the first call.
        remedy: What to do where the address may be wrong.
    """
    text = " ".join(str(error).split())
    status = _STATUS.search(text)
    if (isinstance(error, RPCError) and error.status in AWAY) or "KeepAliveTimedOut" in text:
        # The address is right, most likely: something listens there.
        reason, remedy = "it takes connections, but does not answer", "see whether it is well"
    elif isinstance(error, ConnectionRefusedError):
        reason = "connection refused"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror[:1].lower() + error.strerror[1:]
    elif found := _CERTIFICATE.search(text):
        reason = f"its certificate is not believed ({found[1]})"
    elif "tonic::transport" in text:
        reason = "what listens there is not Temporal, or TLS is set up differently (TEMPORAL_TLS)"
    elif status is not None:
        reason = status[1]
    else:
        reason = text
    return UnavailableError(
        f"Temporal at {address}: {reason}; {remedy}", "Temporal does not answer"
    )


async def _connect(config: ClientConnectConfig) -> Client:
    """Connects; when that is cancelled, waits for the SDK to be done with the attempt."""
    attempt = asyncio.ensure_future(Client.connect(**config, keep_alive_config=KEEP_ALIVE))
    try:
        return await asyncio.shield(attempt)
    except asyncio.CancelledError:
        await asyncio.wait({attempt}, timeout=ATTEMPT_S)
        raise
    finally:
        if attempt.done() and not attempt.cancelled():
            attempt.exception()  # seen, so that nobody warns of it


async def _reach(host: str, port: int, *, tls: bool) -> None:
    """Connects and hangs up. Who it is and whether it can be trusted, the SDK finds out."""
    context = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError:
        return  # it has answered, if only to refuse
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
