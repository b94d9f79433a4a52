"""What the governance workflows have in common: knobs, activity names, notifications."""

from typing import Annotated, Final

from pydantic import Field

from headgate.model.alert import Alert
from headgate.model.contract import Message

# The names of activities and signals are a contract: histories and other SDKs refer to them.
RESTORE: Final = "headgate.restore"
SAVE_SNAPSHOT: Final = "headgate.save_snapshot"
NOTIFY: Final = "headgate.notify"
FIND_CLOSED: Final = "headgate.find_closed_holders"
PUSH_VERDICT: Final = "headgate.push_verdict"
ADMIT: Final = "headgate.admit"
RELEASE: Final = "headgate.release"
GRANTED_SIGNAL: Final = "headgate_granted"
REFUSED_SIGNAL: Final = "headgate_refused"
DEMAND_SIGNAL: Final = "demand"
ALLOCATE_SIGNAL: Final = "allocate"
CAPACITY_SIGNAL: Final = "capacity_follows"
WATCH_LIMIT_SIGNAL: Final = "watch_limit"
CHANGED_SINCE: Final = "headgate.changed_since"
"""The type of the error by which a command is refused whose ``if_revision`` is too old."""
NOT_FOUND: Final = "headgate.not_found"
"""The type of the error by which a command is refused that is to end what is not there."""

IfRevision = Annotated[int, Field(ge=0)] | None
"""A command with it is refused if people have changed what it is about since that revision."""


def changed_since(if_revision: int | None, told_revision: int, revision: int) -> str | None:
    """Return why a command is refused, or None.

    A revision rises with every report and every permit; so what counts is not whether it has risen,
    but whether people have set something since.

    Args:
        if_revision: What the command was decided by; None: whatever is.
        told_revision: When people last set something.
        revision: Now.
    """
    if if_revision is None or told_revision <= if_revision <= revision:
        return None
    if if_revision > revision:
        return f"there has not been a revision {if_revision} yet, it is {revision}"
    return (
        f"people have changed it since revision {if_revision}, at revision {told_revision}: "
        "look at it again before you decide"
    )


class EntityOptions(Message):
    """How a governance workflow keeps house.

    Attributes:
        continue_after_events: Continue as new once the history has so many events. Far below the
            server's suggestion (4,096), because a short history fails over faster.
        snapshot_every_ms: A change is saved at once, but not sooner after the last one than this,
            together with what has followed it; a transition of a breaker, and what people did,
            never waits.
        counts_every_ms: So seldom it is saved while nothing changes but counts of a fleet at work;
            None: 45 times as seldom.
        check_holders_every_ms: How soon, and how often at first, a holder is looked after.
        notify_task_queue: Where alerts are handed over, by workers of their own; None: where the
            workflow runs.
        notify_pause_ms: When a delivery of alerts has failed for good, the next one is tried after
            this time, and then twice as long each time, up to an hour.
    """

    continue_after_events: Annotated[int, Field(ge=50, le=20_000)] = 2_000
    snapshot_every_ms: Annotated[int, Field(ge=10)] = 1_000
    counts_every_ms: Annotated[int, Field(ge=10)] | None = None
    check_holders_every_ms: Annotated[int, Field(ge=10)] = 60_000
    notify_task_queue: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    notify_pause_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 60_000


class Notification(Message):
    """Alerts for the Notifier, oldest first."""

    alerts: list[Alert]


class HolderRef(Message):
    """The holder of a permit, to be looked after; ``namespace``: empty for that of governance."""

    permit: str
    workflow_id: str
    run_id: str
    namespace: str = ""


class HolderCheck(Message):
    """Holders to be looked after."""

    holders: list[HolderRef]


class ClosedHolders(Message):
    """What was found of holders.

    Attributes:
        permits: Those whose holders have closed, or never were.
        open: Those whose holders certainly run. Of the others nothing could be learned now.
    """

    permits: list[str]
    open: list[str] = []
