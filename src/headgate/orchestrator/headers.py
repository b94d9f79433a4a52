"""What activities and child workflows carry along: for whom, and under which permit."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from temporalio import activity
from temporalio.api.common.v1 import Payload

from headgate.gate import Call

CALL_HEADER: Final = "headgate-call"
TENANT_HEADER: Final = "headgate-tenant"
HELD_HEADER: Final = "headgate-held"
AGAIN_HEADER: Final = "headgate-again"
TENANT_MEMO: Final = "headgate-tenant"
_PLAIN: Final = {"encoding": b"json/plain"}


def call_payload(call: Call) -> Payload:
    """Return a permit as a header."""
    return Payload(metadata=_PLAIN, data=call.model_dump_json(exclude_none=True).encode())


def tenant_payload(tenant: str) -> Payload:
    """Return a tenant as a header."""
    return Payload(metadata={"encoding": b"binary/plain"}, data=tenant.encode())


def held_payload(resources: Iterable[str]) -> Payload:
    """Return of which resources the permit of a job holds units, as a header."""
    return Payload(metadata=_PLAIN, data=json.dumps(list(resources)).encode())


def holds(headers: Mapping[str, Payload], resource: str | None) -> bool:
    """Return whether an activity is called under a permit that holds units of a resource."""
    header = headers.get(HELD_HEADER)
    return header is not None and resource in json.loads(header.data)


def again_payload() -> Payload:
    """Return that a job may hold by an earlier call what this one is to hold, as a header."""
    return Payload(metadata=_PLAIN, data=b"true")


def call_of(headers: Mapping[str, Payload]) -> Call | None:
    """Return under which permit an activity is called."""
    header = headers.get(CALL_HEADER)
    return None if header is None else Call.model_validate_json(header.data)


def tenant_in(headers: Mapping[str, Payload]) -> str | None:
    """Return for whom, as the header says."""
    header = headers.get(TENANT_HEADER)
    return None if header is None else header.data.decode()


def tenant_of(headers: Mapping[str, Payload], info: activity.Info) -> str | None:
    """Return for whom an activity is called, by its header or its fairness key."""
    return tenant_in(headers) or info.priority.fairness_key or None
