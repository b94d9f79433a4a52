"""What channels, their messages and what befalls them are read into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from headgate.model.alert import Alert

REMINDER: Final = "reminder"
"""Stands in the place of a message in the attempts at telling what is still so."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What a channel is like, once it has been claimed.

    Attributes:
        is_disabled: It is not tried until it is enabled again, or its settings change.
        is_waiting: It has failed lately, and is not tried yet.
        failing_ms: For how long it has been failing; None: it is not.
        failing_since_ms: Since when, Unix time.
        last_error: What its last failure was.
        failures: How many there were in a row.
        reminded_ms: How long ago it was last told all that is still so.
    """

    is_disabled: bool
    is_waiting: bool
    failing_ms: int | None
    failing_since_ms: int | None
    last_error: str | None
    failures: int
    reminded_ms: int


NEVER_TRIED: Final = ChannelState(False, False, None, None, None, 0, 0)

ALERT: Final = "(SELECT key, seq, status, content FROM alert WHERE id = s.alert_id OFFSET 0)"
"""The alert of a delivery ``s``, found by its id whatever is asked of it.

OFFSET 0 keeps what is asked of it outside. In a storm Postgres takes tables for empty that have
just been filled, and an index in which there are only alerts with a key for the way to any.
"""

STATE: Final = (
    "disabled_at IS NOT NULL AS is_disabled, not_before > now() AS is_waiting, "
    "(extract(epoch FROM now() - failing_since) * 1000)::bigint AS failing_ms, "
    "(extract(epoch FROM failing_since) * 1000)::bigint AS failing_since_ms, "
    "last_error, failures, (extract(epoch FROM now() - reminded_at) * 1000)::bigint AS reminded_ms"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What there may be to tell of a channel.

    Attributes:
        state: What it is like.
        refused: How many messages wait that it did not like.
        refusal: How it said so of the first.
        given_up: How many alerts were given up just now, by the reason.
        told: What people know of it and is not over, by kind.
        is_configured: It is one of the channels that there are.
        outcome: Of the attempt that failed last, as in the record of attempts.
        status: Its HTTP status, if there was an answer.
    """

    state: ChannelState
    refused: int
    refusal: str | None
    given_up: Sequence[tuple[int, str]]
    told: Mapping[str, Alert]
    is_configured: bool = True
    outcome: str | None = None
    status: int | None = None


Tell = Callable[[Standing], Sequence[tuple[Alert, Sequence[str]]]]
"""What there is to tell of a channel, and to which others. It is written down together with what
it is about, so that neither is lost without the other and nothing is told twice."""


class Untold(NamedTuple):
    """An alert that is in no message yet.

    Attributes:
        alert: The alert.
        waited_ms: For how long it has waited.
        is_known: It resolves one of which the channel has been told.
        silence: It resolves what the channel has not been told of, by this silence.
    """

    alert: Alert
    waited_ms: int
    is_known: bool
    silence: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A message that was not taken yet.

    Attributes:
        content: What was composed.
        attempts: How often it was tried.
        parts_taken: How much of it has been taken, where it takes several requests.
        members: The alerts that only it tells of: none that was sent again alone meanwhile.
        held: Those of them that have to wait for an earlier message about the same.
    """

    content: dict[str, Any]
    attempts: int
    parts_taken: int
    members: list[str]
    held: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the messages that a message is divided into.

    Attributes:
        message: What is sent.
        topic: What makes alerts fit into one group.
        alerts: The ids of those that it tells of.
    """

    message: dict[str, Any]
    topic: str
    alerts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed.

    Attributes:
        took_ms: How long it took.
        outcome: The kind of failure, as in the record of attempts.
        status: The HTTP status, if there was an answer.
        error: In words.
        again_s: After what time to try again.
        of_message: The message is not liked, rather than the channel out of reach.
        disable: The channel is gone for good.
    """

    took_ms: int
    outcome: str
    status: int | None
    error: str
    again_s: float
    of_message: bool
    disable: bool
