"""What the Notifier itself tells of: channels that do not take alerts, and tests."""

from typing import Final

from headgate.model.alert import Alert
from headgate.store.channels import ChannelState

FAILING: Final = "channel.failing"
GIVEN_UP: Final = "channel.given_up"
TEST: Final = "channel.test"


def is_failing(channel: str, state: ChannelState, since_ms: int, now_ms: int) -> Alert:
    """Return the alert that a channel does not take alerts."""
    title = f"Channel {channel} does not take alerts"
    kept = "What it should have told is kept, and tried for three days."
    advice = f"headgate notifier test {channel} shows whether it works again."
    if state.is_disabled:
        title = f"Channel {channel} is disabled: its endpoint is gone"
        kept = "What it should have told is kept for three days."
        advice = (
            f"Correct its url and apply, or enable it again: headgate notifier enable {channel} "
            "--reason ..."
        )
    attempts = "1 attempt" if state.failures == 1 else f"{state.failures} attempts in a row"
    return Alert(
        id=_id(channel, since_ms, 1),
        kind=FAILING,
        severity="critical",
        subject=f"channel/{channel}",
        title=title,
        text=f"{attempts} failed; the last: {_reason(channel, state.last_error)}. {kept}",
        at_ms=now_ms,
        data={"channel": channel, "failures": state.failures},
        key=_key(channel),
        since_ms=since_ms,
        advice=advice,
    )


def works_again(channel: str, since_ms: int, now_ms: int) -> Alert:
    """Return the alert that a channel takes alerts again."""
    minutes = max(1, round((now_ms - since_ms) / 60_000))
    return Alert(
        id=_id(channel, since_ms, 2),
        kind=FAILING,
        severity="info",
        subject=f"channel/{channel}",
        title=f"Channel {channel} takes alerts again",
        text=f"It did not for about {minutes} min; what waited is being delivered.",
        at_ms=now_ms,
        data={"channel": channel},
        status="resolved",
        key=_key(channel),
        since_ms=since_ms,
    )


def given_up(channel: str, count: int, reason: str, now_ms: int) -> Alert:
    """Return the alert that alerts were not told of through a channel, for good."""
    alerts = "1 alert" if count == 1 else f"{count} alerts"
    return Alert(
        id=f"channel/{channel}:{now_ms}:1:{GIVEN_UP}",
        kind=GIVEN_UP,
        severity="critical",
        subject=f"channel/{channel}",
        title=f"Channel {channel}: {alerts} given up",
        text=f"They were not taken for three days; the last reason: {_reason(channel, reason)}.",
        at_ms=now_ms,
        data={"channel": channel, "alerts": count},
        advice="headgate alerts list --state abandoned shows them; headgate alerts resend ID sends "
        "one again.",
    )


def trial(channel: str, number: str, actor: str, now_ms: int) -> Alert:
    """Return what ``headgate notifier test`` sends."""
    return Alert(
        id=f"channel/{channel}:{number}:1:{TEST}",
        kind=TEST,
        severity="info",
        subject=f"channel/{channel}/test",
        title=f"Test of channel {channel}",
        text=f"{actor} wanted to know whether alerts arrive here. They do.",
        at_ms=now_ms,
        data={"channel": channel},
    )


def _id(channel: str, since_ms: int, sequence: int) -> str:
    return f"channel/{channel}:{since_ms}:{sequence}:{FAILING}"


def _reason(channel: str, error: str | None) -> str:
    return (error or "unknown").removeprefix(f"channel {channel}: ")


def _key(channel: str) -> str:
    return f"{FAILING}/channel/{channel}"
