"""How the channels are, for people: which take alerts, and what waits for them."""

from collections.abc import Mapping
from typing import Literal

from headgate.model.channels import Channel
from headgate.model.contract import Message
from headgate.store.alerts import Attempt
from headgate.store.channels import ChannelStore
from headgate.store.database import Database


class ChannelView(Message):
    """How a channel is.

    Attributes:
        channel: Its name.
        kind: Such as ``webhook``.
        tenant: Whose own it is; null: nobody's.
        state: ``unused``: nothing has been sent there yet. ``works``: it took what it was last
            sent. ``failing``: it did not, and is tried again. ``disabled``: its endpoint was gone;
            it is not tried before somebody enables it, or its settings change.
        since_ms: Since when it fails, Unix time.
        error: What its last failure was.
        failures: How many there were in a row.
        waiting: Alerts that it has not taken yet.
        last: The last attempt at it.
    """

    channel: str
    kind: str
    tenant: str | None
    state: Literal["unused", "works", "failing", "disabled"]
    since_ms: int | None = None
    error: str | None = None
    failures: int = 0
    waiting: int = 0
    last: Attempt | None = None


async def channel_views(database: Database, channels: Mapping[str, Channel]) -> list[ChannelView]:
    """Return how some channels are, by name."""
    names = sorted(channels)
    states = await ChannelStore(database).states(names)
    waiting = await database.fetch(
        "SELECT channel, sum(count)::bigint AS count FROM ("
        "SELECT channel, count(*) FROM delivery WHERE state = 'pending' GROUP BY channel UNION ALL "
        "SELECT m.channel, count(*) FROM alert_message m JOIN alert_in_message i "
        "ON i.channel = m.channel AND i.message_id = m.id WHERE m.state = 'pending' "
        "GROUP BY m.channel) w WHERE channel = ANY($1) GROUP BY channel",
        names,
    )
    last = await database.fetch(
        "SELECT t.* FROM unnest($1::text[]) n JOIN LATERAL (SELECT channel, message_id AS message, "
        "(extract(epoch FROM at) * 1000)::bigint AS at_ms, took_ms, outcome, status, error "
        "FROM alert_attempt WHERE channel = n ORDER BY at DESC, id DESC LIMIT 1) t ON true",
        names,
    )
    counts = {row["channel"]: row["count"] for row in waiting}
    attempts = {row["channel"]: Attempt.model_validate(dict(row)) for row in last}
    found = []
    for name in names:
        view = ChannelView(
            channel=name,
            kind=channels[name].kind,
            tenant=channels[name].tenant,
            state="works" if name in attempts else "unused",
            waiting=counts.get(name, 0),
            last=attempts.get(name),
        )
        state = states.get(name)
        if state is not None and (state.is_disabled or state.failing_since_ms is not None):
            view = view.model_copy(
                update={
                    "state": "disabled" if state.is_disabled else "failing",
                    "since_ms": state.failing_since_ms,
                    "error": state.last_error,
                    "failures": state.failures,
                }
            )
        found.append(view)
    return found
