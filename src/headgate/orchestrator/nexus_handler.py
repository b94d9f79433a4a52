"""Answers ``HeadgateService`` in the governance worker."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nexusrpc
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation

from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ledger import Decision, Holder
from headgate.orchestrator.remote_admission import RemoteAdmission

_OF_WORKFLOW: Final = "temporal.api.common.v1.Link.WorkflowEvent"


@service_handler(name="HeadgateService")
class HeadgateHandler:
    """The operations of ``HeadgateService``, by its name and not by its definition.

    They take whatever is sent, so that what cannot be read is refused in plain words. Everything
    that may pass by itself is a value: after a few errors in a row that may be tried again the
    Temporal server would close the endpoint to the caller's namespace for a minute.

    Args:
        admission: Answers them.
    """

    def __init__(self, admission: RemoteAdmission) -> None:
        self._admission = admission

    @sync_operation
    async def admit(self, ctx: StartOperationContext, request: Any) -> Decision:
        """Decide whether a job may go on; a denial is a value."""
        try:
            return await self._admission.admit(request, ctx.request_id, caller(ctx.inbound_links))
        except ConfigurationError as error:
            raise _invalid(error) from None

    @sync_operation
    async def release(self, ctx: StartOperationContext, message: Any) -> None:
        """Give back what a job held, or withdraw what it asked for."""
        try:
            await self._admission.release(message)
        except ConfigurationError as error:
            raise _invalid(error) from None
        except UnavailableError as error:
            raise nexusrpc.HandlerError(
                str(error), type=nexusrpc.HandlerErrorType.UNAVAILABLE
            ) from None


def caller(links: Iterable[nexusrpc.Link]) -> Holder | None:
    """Return the workflow that calls, as the server's link to the event of its call names it."""
    for link in links:
        # temporal:///namespaces/<namespace>/workflows/<id>/<run>/history?...
        parts = [unquote(part) for part in urlsplit(link.url).path.split("/")]
        if link.type == _OF_WORKFLOW and len(parts) >= 6 and parts[3] == "workflows":
            return Holder(namespace=parts[2], workflow_id=parts[4], run_id=parts[5])
    return None


def _invalid(error: ConfigurationError) -> nexusrpc.HandlerError:
    return nexusrpc.HandlerError(
        f"HeadgateService.{error}", type=nexusrpc.HandlerErrorType.BAD_REQUEST
    )
