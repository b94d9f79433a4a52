"""Preflight and registration of the search attributes: upserting an unknown one jams a workflow."""

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.workflows.search_attributes import BREAKER_STATE, KIND

_NAMES = (KIND.name, BREAKER_STATE.name)


async def missing(client: Client) -> list[str]:
    """Return which of Headgate's search attributes the namespace does not have.

    Raises:
        UnavailableError: The server does not tell.
    """
    try:
        found = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        raise UnavailableError(f"the search attributes cannot be listed: {error}") from error
    for name in _NAMES:
        kind = found.custom_attributes.get(name)
        if kind is not None and kind != IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD:
            raise ConfigurationError(
                f"search attribute {name} of namespace {client.namespace} is not a Keyword: "
                "remove it, or run without --search-attributes"
            )
    return [name for name in _NAMES if name not in found.custom_attributes]


async def require_registered(client: Client) -> None:
    """Make sure that the namespace has them.

    Raises:
        ConfigurationError: It has not; the message names the command that registers them.
    """
    names = await missing(client)
    if names:
        raise ConfigurationError(
            f"namespace {client.namespace} lacks the search attributes {', '.join(names)}: run "
            f"headgate search-attributes --register, or {by_hand(client.namespace, names)}"
        )


async def register(client: Client) -> list[str]:
    """Register what is missing.

    Returns:
        What was registered.

    Raises:
        UnavailableError: The server does not let us; the message names the command to run.
    """
    names = await missing(client)
    if not names:
        return []
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=dict.fromkeys(names, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
    except RPCError as error:
        raise UnavailableError(
            f"the search attributes cannot be registered: {error}; as an administrator, run "
            f"{by_hand(client.namespace, names)}"
        ) from error
    return names


def by_hand(namespace: str, names: list[str]) -> str:
    """Return the command of Temporal's own tool that registers ``names``."""
    listed = " ".join(f"--name {name} --type Keyword" for name in names)
    return f"temporal operator search-attribute create --namespace {namespace} {listed}"
