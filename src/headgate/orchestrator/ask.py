"""Asking governance workflows how they are: live, or else as Postgres has it."""

from typing import Final, TypeVar

from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate.kinds import governing
from headgate.model.errors import UnavailableError
from headgate.model.ids import Kind
from headgate.model.pool import PoolView
from headgate.packed import unpack

Answer = TypeVar("Answer")

ASK_S: Final = 5.0


async def ask(
    client: Client,
    kind: Kind,
    subject: str,
    query: str,
    result: type[Answer],
    argument: object = None,
) -> Answer:
    """Return what a governance workflow answers to a query; it is not started for it.

    Raises:
        UnavailableError: It does not run, or does not answer.
    """
    try:
        workflow = governing(client, kind, subject)
        return await workflow.query(query, result, ASK_S, argument)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
            raise UnavailableError(
                f"{kind} {subject} does not run: it begins when it is first needed"
            ) from error
        reason = " ".join(str(error).split())
        raise UnavailableError(
            f"{kind} {subject} does not answer ({reason}); is a governance worker running?"
        ) from error
    except (KeyError, ValueError, RuntimeError) as error:  # as converters fail
        raise UnavailableError(
            f"what {kind} {subject} answers cannot be read here ({error}): set "
            "HEADGATE_DATA_CONVERTER to the converter of its governance workers"
        ) from error


async def ask_pool(client: Client, pool: str) -> PoolView:
    """Return how a pool is, with all of its members.

    Raises:
        UnavailableError: As ``ask``.
    """
    return PoolView.model_validate_json(unpack(await ask(client, "governor", pool, "whole", str)))
