"""What producers of work do under pressure: the intake of a job source waits until it is less.

async for job in source:
    await intake(client, "scanner-slots")
    await client.start_workflow(...)
"""

import asyncio
import random
from datetime import timedelta
from typing import Final, Literal

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.model.errors import NotFoundError, UnavailableError
from headgate.model.ids import workflow_id
from headgate.model.limits import PressureLevel, PressureView
from headgate.orchestrator.mistakes import shown

_LOOK: Final = timedelta(seconds=10)
_LEAST_PAUSE_S: Final = 0.05
_WHEN_AWAY_S: Final = 5.0
_LIMITS: Final = [level.value for level in PressureLevel if level is not PressureLevel.NORMAL]
"""Pressure is never below the lowest level: who waited for that would wait for ever."""


async def backpressure(client: Client, pool: str) -> PressureView:
    """Ask the governor of ``pool`` how full it is. A query: not for every job of many.

    Raises:
        NotFoundError: No governor of this name runs.
        UnavailableError: Temporal or the governance workers do not answer.
    """
    handle = client.get_workflow_handle(workflow_id("governor", pool))
    try:
        view: PressureView = await handle.query(
            "backpressure", result_type=PressureView, rpc_timeout=_LOOK
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFoundError(
                f"no governor runs for a pool {pool!r}: see headgate pool list"
            ) from error
        raise _unavailable(pool, error) from error
    except WorkflowQueryFailedError as error:  # it is just being restored
        raise _unavailable(pool, error) from error
    return view


async def intake(
    client: Client,
    pool: str,
    below: Literal["elevated", "saturated", "emergency"] = "elevated",
) -> PressureView:
    """Wait until the pressure of ``pool`` is below a level; at once, if it is.

    Asks again after the time that the governor names, up to a quarter longer, so that producers do
    not come back all at once. While nobody answers it waits as well: then nobody could say how much
    waits already.

    Args:
        client: Of the governance namespace.
        pool: Whose.
        below: The level at which work is no longer taken in.

    Returns:
        What the pressure is then.

    Raises:
        NotFoundError: No governor of this name runs.
        ValueError: ``below`` is no level that pressure can be below.
    """
    if below not in _LIMITS:
        raise ValueError(
            f"intake: below is {shown(below)}: write the level at which no more work is taken in, "
            f"{', '.join(_LIMITS[:-1])} or {_LIMITS[-1]}"
        )
    limit = PressureLevel(below).rank
    while True:
        try:
            view = await backpressure(client, pool)
        except UnavailableError:
            pause_s = _WHEN_AWAY_S
        else:
            if view.level.rank < limit:
                return view
            pause_s = max(_LEAST_PAUSE_S, view.retry_after_ms / 1_000)
        await asyncio.sleep(pause_s * random.uniform(1.0, 1.25))  # noqa: S311 - no secret


def _unavailable(pool: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the governor of pool {pool} does not answer ({' '.join(str(error).split())}); "
        "is a governance worker running?"
    )
