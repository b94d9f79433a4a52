"""What operators do to breakers, from whatever place they do it."""

from uuid import uuid4

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.model.breaker import BreakerCommand, BreakerView
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ids import workflow_id


async def command_breaker(client: Client, downstream: str, command: BreakerCommand) -> BreakerView:
    """Tell the breaker of ``downstream`` something.

    Returns:
        What it is now, or would be with ``dry_run``.

    Raises:
        ConfigurationError: No breaker of this name runs, or it refused.
        UnavailableError: Temporal or the governance workers do not answer.
    """
    handle = client.get_workflow_handle(workflow_id("breaker", downstream))
    try:
        view: BreakerView = await handle.execute_update(
            "command", command, id=command.id, result_type=BreakerView
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ConfigurationError(
                f"no breaker runs for {downstream!r}: see headgate breaker list"
            ) from error
        raise UnavailableError(f"breaker {downstream} does not answer: {error}") from error
    except WorkflowUpdateFailedError as error:
        raise ConfigurationError(f"breaker {downstream} refused: {error.cause}") from error
    return view


def new_command_id() -> str:
    """Return an id for a command; the same for every attempt at it."""
    return f"command:{uuid4()}"
