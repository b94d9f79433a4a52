"""What people do to a channel and what its worker writes down do not wait for each other."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from headgate.model.audit import Order
from headgate.notifier.again import send_again
from headgate.notifier.by_hand import enable_again, send_test
from headgate.store.channels import ChannelStore
from headgate.store.database import Database
from headgate.store.messages import MessageStore
from tests.harness import eventually
from tests.notifier.site import Endpoint, Site, alert

ORDER = Order("ada", "it is well again", "by-hand", 1_800_000_000_000)

BY_HAND: dict[str, Callable[[Database], Coroutine[Any, Any, Any]]] = {
    "enable": lambda database: enable_again(database, "ops", ORDER),
    "test": lambda database: send_test(database, "ops", ORDER),
    "resend": lambda database: send_again(database, alert(1).id, "ops", ORDER),
    "secrets have changed": lambda database: ChannelStore(database).try_refused(),
}


@pytest.mark.parametrize("what", BY_HAND)
async def test_by_hand_while_it_is_written_down_what_was_taken(desk: Site, what: str) -> None:
    await desk.channels(ops=await desk.serve(Endpoint(answers=[400]).app()))
    await desk.tell(alert(1))
    (message,) = await desk.database.fetch("SELECT id FROM alert_message WHERE refused")

    async def waiting() -> int:
        found: int = await desk.database.fetch_value(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return found

    async with (
        asyncio.TaskGroup() as both,
        desk.database.connection() as held,
        held.transaction(),
    ):
        # Both are under way until this is let go: the worker first, then people.
        await held.execute("SELECT FROM alert_message FOR UPDATE")
        taken = MessageStore(desk.database).delivered("ops", message["id"], 5, lambda _: [])
        both.create_task(taken)
        await eventually(waiting, lambda count: count == 1)
        both.create_task(BY_HAND[what](desk.database))
        await eventually(waiting, lambda count: count == 2)
    assert (await desk.channel("ops"))["waits_s"] <= 0
