"""``headgate alerts``: what people were told of, and what they do not want to hear of."""

import asyncio
from typing import Any, Final, get_args

import typer

from headgate.alerts.words import many
from headgate.cli import options
from headgate.cli.options import Asked, reading, written
from headgate.cli.tables import ago, left, print_json, say, show, table
from headgate.gate.clock import now_ms
from headgate.model.errors import ConfigurationError, NotFoundError
from headgate.model.silence import MOST_SILENT_MS, NewSilence, Silence
from headgate.notifier.again import send_again
from headgate.orchestrator.durations import parse_duration
from headgate.orchestrator.times import utc
from headgate.store.alerts import AlertStore, Delivery, DeliveryState, Told
from headgate.store.silences import SilenceStore

app = typer.Typer(
    help="Look at alerts and where they went, send one again, silence some.", no_args_is_help=True
)

_LOOKED_AT: Final = 1_000
_STATES: Final = get_args(DeliveryState)
_KIND: Final = typer.Option(None, "--kind", help="Such as breaker.opened, or quota.*")
_SEVERITY: Final = typer.Option(None, "--severity", help="info, warning or critical.")
_SUBJECT: Final = typer.Option(None, "--subject", help="Such as tenant/acme/scan, or tenant/acme*")
_TENANT: Final = typer.Option(None, "--tenant", help="Whose.")


@app.command("list")
def list_alerts(
    kind: str | None = _KIND,
    tenant: str | None = _TENANT,
    state: str | None = typer.Option(
        None, "--state", help=f"How far it has come: {', '.join(_STATES)}."
    ),
    channel: str | None = typer.Option(None, "--channel", help="Of this channel."),
    severity: str | None = _SEVERITY,
    is_open: bool = typer.Option(False, "--open", help="Only what is still so."),
    search: str | None = typer.Option(
        None,
        "--search",
        help="Only those with this in their subject or title, or in a message of this id.",
    ),
    before: int | None = typer.Option(
        None, "--before", min=0, help="Only those older than the one with this seq (--json)."
    ),
    limit: int = typer.Option(20, "-n", "--limit", min=1, max=1_000, help="How many."),
    as_json: bool = options.JSON,
) -> None:
    """List the latest alerts, newest first, with where they went."""
    if state is not None and state not in _STATES:
        raise ConfigurationError(f"--state {state!r}: write {', '.join(_STATES)}")
    found = asyncio.run(
        _recent(
            limit,
            kind=kind,
            severity=severity,
            tenant=tenant,
            state=state,
            channel=channel,
            search=search,
            is_open=is_open or None,
            before=before,
        )
    )
    _print_list(found, limit, as_json)


@app.command("show")
def show_alert(
    id: str = typer.Argument(help="Of the alert, as alerts list has it."),
    as_json: bool = options.JSON,
) -> None:
    """Show one alert, where it went, and every attempt to deliver it."""
    asyncio.run(_show(id, as_json))


@app.command("resend")
def resend(
    id: str = typer.Argument(help="Of the alert, as alerts list has it."),
    channel: str | None = typer.Option(
        None, "--channel", help="Where to; to all that it went to, if not given."
    ),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Send an alert once more, under the id that it has."""
    by = options.asked(reason, actor, dry_run, request_id)
    asyncio.run(_resend(id, channel, by, as_json))


@app.command("silence")
def silence(
    kind: str | None = _KIND,
    severity: str | None = _SEVERITY,
    subject: str | None = _SUBJECT,
    tenant: str | None = _TENANT,
    duration: str = typer.Option(..., "--for", help="How long, such as 2h."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Do not tell of some alerts for a while; they are recorded all the same.

    What is named must all fit. Who was told that something is wrong is still told that it is over.
    """
    if kind is None and severity is None and subject is None and tenant is None:
        raise ConfigurationError(
            "nothing says which alerts: add --kind, --severity, --subject or --tenant "
            "(--kind '*' for all of them)"
        )
    for_ms = parse_duration(duration, "--for")
    if for_ms > MOST_SILENT_MS:
        raise ConfigurationError(
            f"--for {duration}: a silence lasts {MOST_SILENT_MS // 86_400_000}d at most; what "
            "nobody is to hear of for good belongs into notifier.routes of headgate.yaml"
        )
    by = options.asked(reason, actor, dry_run, request_id)
    made = written(
        NewSilence,
        id=by.id,
        kind=kind,
        severity=severity,
        subject=subject,
        tenant=tenant,
        until_ms=now_ms() + for_ms,
        actor=by.actor,
        reason=by.reason,
    )
    asyncio.run(_silence(made, by, as_json))


@app.command("silences")
def silences(as_json: bool = options.JSON) -> None:
    """List the silences that hold."""
    asyncio.run(_silences(as_json))


@app.command("unsilence")
def unsilence(
    id: str = typer.Argument(help="Of the silence, as alerts silences has it."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """End a silence before its time."""
    by = options.asked(reason, actor, dry_run, request_id)
    asyncio.run(_unsilence(id, by, as_json))


async def _recent(limit: int, **which: Any) -> list[Told]:
    async with reading() as db:
        return await AlertStore(db).recent(limit, **which)


def _print_list(found: list[Told], limit: int, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found:
        print("no alerts")
        return
    for one in found:
        alert = one.alert
        severity = "resolved" if alert.status == "resolved" else alert.severity
        say(f"{ago(alert.at_ms)}  {severity}  {alert.title}", 2)
        say(f"  {_ways(one.deliveries)}", 4)
        print(f"  {alert.id}")
    if len(found) == limit:
        print(f"only {many(limit, 'is', 'are')} shown: older ones with --before {found[-1].seq}")


async def _show(id: str, as_json: bool) -> None:
    async with reading() as db:
        store = AlertStore(db)
        told = await store.one(id)
        if told is None:
            raise NotFoundError(
                f"{id}: no such alert; headgate alerts list shows the latest, and with --search "
                f"{id} those that a message of this id tells of"
            )
        attempts = await store.attempts(id)
    if as_json:
        print_json({**told.model_dump(mode="json"), "attempts": attempts})
        return
    alert = told.alert
    say(f"{alert.title} ({alert.severity}, {alert.status})", 2)
    for line in alert.text.splitlines():
        say(line, 2)
    if alert.advice:
        say(f"What can be done: {alert.advice}", 2)
    say(f"{alert.kind} of {alert.subject}, decided {utc(alert.at_ms)}", 2)
    for delivery in told.deliveries:
        say(f"{delivery.channel}: {_way(delivery)}", 2)
    if attempts:
        rows = table("Attempt", "Channel", "Took", "End", right=("Took",), whole=("Channel",))
        for one in attempts:
            rows.add_row(utc(one.at_ms), one.channel, f"{one.took_ms} ms", one.error or one.outcome)
        show(rows)


async def _resend(id: str, channel: str | None, by: Asked, as_json: bool) -> None:
    async with reading() as db:
        await by.note(db, f"alert/{id}")
        channels = await send_again(db, id, channel, by.order)
    if as_json:
        print_json({"alert": id, "channels": channels, "dry_run": by.dry_run})
        return
    if by.dry_run:
        say(f"would be sent again to {', '.join(channels)}", 2)
        return
    say(f"sent again to {', '.join(channels)}; headgate alerts show tells how it ended", 2)


async def _silence(made: Silence, by: Asked, as_json: bool) -> None:
    async with reading() as db:
        await by.note(db, "silence")
        store, still = SilenceStore(db), await AlertStore(db).recent(_LOOKED_AT, is_open=True)
        entry = made.entry("silence", made.actor, made.reason, now_ms(), made.id)
        if not by.dry_run and not await store.add(made, [entry]):
            made = await store.one(made.id) or made  # it was made by an earlier attempt
    count = sum(made.covers(one.alert) for one in still)
    if as_json:
        told = {"open_alerts": count, "dry_run": by.dry_run}
        print_json({**made.model_dump(mode="json"), **told})
        return
    would = "would be " if by.dry_run else ""
    say(f"{would}no word of alerts with {made.words} until {utc(made.until_ms)}", 2)
    say(f"{count} of {len(still)} open alert{'' if len(still) == 1 else 's'} concerned", 2)
    if not by.dry_run:
        print(made.id)


async def _silences(as_json: bool) -> None:
    async with reading() as db:
        found = await SilenceStore(db).in_force()
    if as_json:
        print_json(found)
        return
    if not found:
        print("nothing is silenced")
        return
    rows = table("Id", "Alerts with", "For", "By", whole=("Id",))
    for one in found:
        rows.add_row(one.id, one.words, left(one.until_ms), f"{one.actor}: {one.reason}")
    show(rows)


async def _unsilence(id: str, by: Asked, as_json: bool) -> None:
    async with reading() as db:
        await by.note(db, f"silence/{id}")
        store = SilenceStore(db)
        one = await store.one(id)
        if one is not None and by.dry_run:
            is_over = one not in await store.in_force()
        else:
            is_over = one is None or not await store.end(
                id, one.entry("unsilence", by.actor, by.reason, now_ms(), by.id)
            )
        if one is None or is_over:
            raise NotFoundError(
                f"{id}: no such silence holds; headgate alerts silences lists those that do"
            )
    if as_json:
        print_json({"id": id, "dry_run": by.dry_run})
        return
    say(f"alerts with {one.words} {'would be' if by.dry_run else 'are'} told of again", 2)


def _ways(deliveries: list[Delivery]) -> str:
    told = "; ".join(f"{one.channel}: {_way(one)}" for one in deliveries)
    return told or "to no channel: none is configured for it"


def _way(delivery: Delivery) -> str:
    """Return in words how far an alert has come with a channel."""
    together = ", in one message with others" if delivery.is_together else ""
    if delivery.state == "composed":
        error = f": {delivery.error}" if delivery.error else ""
        return f"not taken yet, {delivery.attempts} attempts{together}{error}"
    note = f": {delivery.note}" if delivery.note else ""
    return f"{delivery.state}{together}{note}"
