"""What the Notifier itself tells of: channels that do not take alerts, and tests."""

from collections.abc import Collection
from uuid import uuid4

from headgate.alerts.words import many, sentence, span
from headgate.model.alert import Alert, Severity, Status
from headgate.model.channel_alerts import FAILING, GIVEN_UP, LASTING, REFUSING, TEST, key_of
from headgate.notifier.delivery import is_lasting
from headgate.store.channel_rows import Standing


def news(
    channel: str,
    standing: Standing,
    now_ms: int,
    *,
    after_ms: int,
    at_once: bool = False,
    repeat_ms: int | None = None,
) -> list[Alert]:
    """Return what people have to be told of a channel, which they do not know yet.

    Args:
        channel: Its name.
        standing: What it is like, and what they know.
        now_ms: Unix time.
        after_ms: How long it may fail before people are told.
        at_once: It has failed in a way that will not pass by itself.
        repeat_ms: After what time they are told again of what lasts; None: they are not.
    """
    told = [
        _given_up(channel, count, reason, now_ms)
        if standing.is_configured
        else _left_behind(channel, count, now_ms)
        for count, reason in standing.given_up
    ]
    told += _of_failing(channel, standing, now_ms, after_ms, at_once)
    told += _of_refusing(channel, standing, now_ms)
    if repeat_ms is not None and standing.is_configured:
        known = {alert.kind for alert in told}
        told += _still(channel, standing, now_ms, repeat_ms, known)
    return told


def _still(
    channel: str, standing: Standing, now_ms: int, repeat_ms: int, just_told: Collection[str]
) -> list[Alert]:
    """Return what people were told of long ago and that is still so."""
    state, again = standing.state, []
    for kind, known in sorted(standing.told.items()):
        if kind in just_told or now_ms - known.at_ms < repeat_ms:
            continue
        since_ms = known.at_ms if known.since_ms is None else known.since_ms
        if kind == FAILING and state.failing_since_ms is not None:
            told = _is_failing(channel, standing, since_ms, now_ms)
        elif kind == REFUSING and standing.refused:
            told = _is_refusing(channel, standing, now_ms)
        else:
            continue
        lasted = f"It has been so for {span(now_ms - since_ms)}."
        changes = {"title": f"Still: {told.title}", "text": f"{told.text} {lasted}"}
        again.append(told.model_copy(update={**changes, "since_ms": since_ms}))
    return again


def trial(channel: str, number: str, actor: str, now_ms: int) -> Alert:
    """Return what ``headgate notifier test`` sends."""
    return _alert(
        channel,
        TEST,
        now_ms,
        "info",
        f"Test of channel {channel}",
        f"{actor} wanted to know whether alerts arrive here. They do.",
    ).model_copy(
        update={
            "id": f"channel/{channel}:{number}:1:{TEST}",
            "subject": f"channel/{channel}/test",
        }
    )


def _of_failing(
    channel: str, standing: Standing, now_ms: int, after_ms: int, at_once: bool
) -> list[Alert]:
    state, known = standing.state, standing.told.get(FAILING)
    if state.failing_since_ms is None or not standing.is_configured:
        return [] if known is None else [_works_again(channel, standing, known, now_ms)]
    is_long = state.failing_ms is not None and state.failing_ms >= after_ms
    if known is None and (at_once or state.is_disabled or is_long):
        return [_is_failing(channel, standing, state.failing_since_ms, now_ms)]
    if known is not None and state.is_disabled and not known.data.get("disabled"):
        # It is worse than what people know: it is not even tried any more.
        return [_is_failing(channel, standing, state.failing_since_ms, now_ms)]
    return []


def _is_failing(channel: str, standing: Standing, since_ms: int, now_ms: int) -> Alert:
    state = standing.state
    title = f"Channel {channel} does not take alerts"
    kept = "What it should have told is kept, and tried for three days."
    advice = _advice(standing) + f"headgate notifier test {channel} shows whether it works again."
    if state.is_disabled:
        title = f"Channel {channel} is disabled: its endpoint is gone"
        kept = "What it should have told is kept for three days."
        advice = (
            f"Correct its url and apply, or enable it again: headgate notifier enable {channel} "
            "--reason ..."
        )
    attempts = "1 attempt" if state.failures == 1 else f"{state.failures} attempts in a row"
    return _alert(
        channel,
        FAILING,
        now_ms,
        "critical",
        title,
        f"{sentence(f'{attempts} failed; the last: {_reason(channel, state.last_error)}')} {kept}",
        advice,
        since_ms=since_ms,
        failures=state.failures,
        disabled=int(state.is_disabled),
    )


def _advice(standing: Standing) -> str:
    """Return what to put right, with a space after it; nothing where waiting may be enough."""
    if standing.outcome == "misconfigured":
        return (
            "Correct what it names: a secret where the governance worker runs, which is started "
            "anew for another environment; an address in headgate.yaml, which is applied. "
        )
    if standing.outcome == "refused" and is_lasting(standing.status):
        return "Correct its url and apply, or set the right secret. "
    return ""


def _works_again(channel: str, standing: Standing, known: Alert, now_ms: int) -> Alert:
    since_ms = known.at_ms if known.since_ms is None else known.since_ms
    title = f"Channel {channel} takes alerts again"
    text = f"It did not for {span(now_ms - since_ms)}; what waited is being delivered."
    if not standing.is_configured:
        title = f"Channel {channel} is configured no more"
        text = "It took no alerts; what waited for it is given up."
    return _alert(channel, FAILING, now_ms, "info", title, text, status="resolved", known=known)


def _of_refusing(channel: str, standing: Standing, now_ms: int) -> list[Alert]:
    known, count = standing.told.get(REFUSING), standing.refused
    if known is None and count:
        return [_is_refusing(channel, standing, now_ms)]
    if known is not None and not count:
        return [
            _alert(
                channel,
                REFUSING,
                now_ms,
                "info",
                f"Channel {channel} refuses nothing any more",
                "No message waits that it has refused.",
                status="resolved",
                known=known,
            )
        ]
    return []


def _is_refusing(channel: str, standing: Standing, now_ms: int) -> Alert:
    # It may be this message, or all: a wrong key of PagerDuty looks like that.
    refusal = _reason(channel, standing.refusal)
    return _alert(
        channel,
        REFUSING,
        now_ms,
        "critical",
        f"Channel {channel} refuses what it is sent",
        sentence(f"{many(standing.refused, 'message')} refused: {refusal}")
        + " It is tried for three days, and others meanwhile.",
        f"See whether its url and its secret are right; headgate alerts list --channel "
        f"{channel} --state composed shows what waits. That it is over is told as well.",
        messages=standing.refused,
    )


def _given_up(channel: str, count: int, reason: str, now_ms: int) -> Alert:
    alerts = many(count, "alert")
    return _alert(
        channel,
        GIVEN_UP,
        now_ms,
        "critical",
        f"Channel {channel}: {alerts} given up",
        sentence(
            f"They were not taken for three days; the last reason: {_reason(channel, reason)}"
        ),
        "headgate alerts list --state abandoned shows them; headgate alerts resend ID sends "
        "one again.",
        alerts=count,
    )


def _left_behind(channel: str, count: int, now_ms: int) -> Alert:
    return _alert(
        channel,
        GIVEN_UP,
        now_ms,
        "critical",
        f"Channel {channel}: {many(count, 'alert')} given up, for it is configured no more",
        "They waited for it when it was removed or renamed, and it has told nobody of them.",
        f"headgate alerts list --channel {channel} --state abandoned -n {min(count, 1_000)} shows "
        "them; headgate alerts resend ID --channel NAME sends one through another channel.",
        alerts=count,
    )


def _alert(
    channel: str,
    kind: str,
    now_ms: int,
    severity: Severity,
    title: str,
    text: str,
    advice: str = "",
    *,
    since_ms: int | None = None,
    status: Status = "firing",
    known: Alert | None = None,
    **data: int,
) -> Alert:
    """Return an alert about a channel, under an id that no other one has."""
    return Alert(
        id=f"channel/{channel}:{uuid4().hex[:12]}:1:{kind}",
        kind=kind,
        severity=severity,
        subject=f"channel/{channel}",
        title=title,
        text=text,
        at_ms=now_ms,
        data={"channel": channel, **data},
        status=status,
        key=key_of(kind, channel) if kind in LASTING else "",
        since_ms=since_ms if known is None else known.since_ms or known.at_ms,
        advice=advice,
    )


def _reason(channel: str, error: str | None) -> str:
    return (error or "unknown").removeprefix(f"channel {channel}: ")
