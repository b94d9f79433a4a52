"""Reaching Temporal and Postgres from the standard environment."""

import os
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any, Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from headgate.devstack.temporal_connection import no_answer, require_answer
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.converters import require_carried, require_decoded, with_pydantic
from headgate.store.address import DATABASE_URL
from headgate.store.database import Database

DATA_CONVERTER: Final = "HEADGATE_DATA_CONVERTER"
"""Names the converter of the orchestrator, where it is not the default one."""

_TIMEOUT_S: Final = 10.0
_REMEDY: Final = "correct TEMPORAL_ADDRESS, or start one with headgate dev"


async def connect_temporal(plugins: Sequence[Any] = ()) -> Client:
    """Connect as Temporal's standard client environment says (``temporalio.envconfig``).

    Raises:
        UnavailableError: Temporal does not answer at that address.
        ConfigurationError: The environment or its profile file cannot be used, or names a
            namespace or a converter that is not there.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(
            f"Temporal's client configuration (the TEMPORAL_ variables): {reason}"
        ) from error
    config.setdefault("target_host", "localhost:7233")
    converter = await data_converter(config.get("namespace", "default"))
    await require_answer(config, _TIMEOUT_S, _REMEDY)
    address = config["target_host"]
    try:
        client = await Client.connect(**config, data_converter=converter, plugins=plugins)
        await _require_namespace(client, address)
    except (RuntimeError, RPCError) as error:
        raise no_answer(address, error, _REMEDY) from error
    return client


async def data_converter(namespace: str) -> DataConverter:
    """Return the converter that ``HEADGATE_DATA_CONVERTER`` names, or the pydantic one.

    Raises:
        ConfigurationError: There is no such converter, or it cannot carry Headgate's messages.
    """
    place = os.environ.get(DATA_CONVERTER, "")
    if not place:
        return with_pydantic(None)
    module, _, name = place.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{DATA_CONVERTER}={place}: {error}; it names a DataConverter as package.module:name"
        ) from error
    if not isinstance(found, DataConverter):
        raise ConfigurationError(
            f"{DATA_CONVERTER}={place} is a {type(found).__name__}, not a DataConverter"
        )
    converter = with_pydantic(found)
    require_carried(converter, namespace)
    await require_decoded(converter, namespace)
    return converter


async def _require_namespace(client: Client, address: str) -> None:
    """A missing namespace would look like workflows that do not run."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace),
            timeout=timedelta(seconds=_TIMEOUT_S),
        )
    except RPCError as error:
        if error.status is RPCStatusCode.PERMISSION_DENIED:
            return  # some keys may use a namespace, but not look at it
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise ConfigurationError(
            f"Temporal at {address} has no namespace {client.namespace!r}: "
            "correct TEMPORAL_NAMESPACE, or create it"
        ) from error


def database() -> Database:
    """Return the database that ``HEADGATE_DATABASE_URL`` names; nothing is connected yet.

    Raises:
        ConfigurationError: The variable is missing, or not a Postgres address.
    """
    dsn = os.environ.get(DATABASE_URL, "")
    if not dsn:
        raise ConfigurationError(
            f"{DATABASE_URL} is not set: it names the Postgres database, such as "
            "postgresql://user:password@host:5432/headgate"
        )
    return Database(dsn)
