"""``headgate alerts``: what people were told of, and what they do not want to hear of."""

import asyncio
import json
from typing import Any, Final

import asyncpg
import typer

from headgate.cli import options
from headgate.cli.durations import parse_duration
from headgate.cli.options import reading, written
from headgate.cli.tables import ago, left, print_json, say, show, table
from headgate.cli.user import current_user
from headgate.gate.clock import now_ms
from headgate.model.alert import Alert
from headgate.model.audit import AuditEntry
from headgate.model.errors import ConfigurationError
from headgate.model.silence import Silence
from headgate.notifier.outgoing import single
from headgate.orchestrator.operate import new_command_id
from headgate.orchestrator.times import utc
from headgate.store.alerts import AlertStore
from headgate.store.channels import ChannelStore
from headgate.store.configuration import ConfigurationStore
from headgate.store.silences import SilenceStore

app = typer.Typer(
    help="Look at alerts and where they went, send one again, silence some.", no_args_is_help=True
)

_STATES: Final = ("pending", "composed", "delivered", "silenced", "abandoned")
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
    limit: int = typer.Option(20, "-n", "--limit", min=1, max=1_000, help="How many."),
    as_json: bool = options.JSON,
) -> None:
    """List the latest alerts, newest first, with where they went."""
    if state is not None and state not in _STATES:
        raise ConfigurationError(f"--state {state!r}: write {', '.join(_STATES)}")
    asyncio.run(_list(kind, tenant, state, channel, limit, as_json))


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
    as_json: bool = options.JSON,
) -> None:
    """Send an alert once more, under the id that it has."""
    asyncio.run(_resend(id, channel, reason, actor or current_user(), as_json))


@app.command("silence")
def silence(
    kind: str | None = _KIND,
    severity: str | None = _SEVERITY,
    subject: str | None = _SUBJECT,
    tenant: str | None = _TENANT,
    duration: str = typer.Option(..., "--for", help="How long, such as 2h."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
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
    made = written(
        Silence,
        id=new_command_id(),
        kind=kind,
        severity=severity,
        subject=subject,
        tenant=tenant,
        until_ms=now_ms() + parse_duration(duration, "--for"),
        actor=actor or current_user(),
        reason=reason,
    )
    asyncio.run(_silence(made, as_json))


@app.command("silences")
def silences(as_json: bool = options.JSON) -> None:
    """List the silences that hold."""
    asyncio.run(_silences(as_json))


@app.command("unsilence")
def unsilence(
    id: str = typer.Argument(help="Of the silence, as alerts silences has it."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    as_json: bool = options.JSON,
) -> None:
    """End a silence before its time."""
    asyncio.run(_unsilence(id, reason, actor or current_user(), as_json))


async def _list(
    kind: str | None,
    tenant: str | None,
    state: str | None,
    channel: str | None,
    limit: int,
    as_json: bool,
) -> None:
    async with reading() as db:
        rows = await AlertStore(db).recent(limit, kind, tenant, state, channel)
    if as_json:
        print_json([_plain(row) for row in rows])
        return
    if not rows:
        print("no alerts")
        return
    for row in rows:
        alert = Alert.model_validate(row["content"])
        severity = "resolved" if alert.status == "resolved" else alert.severity
        say(f"{ago(alert.at_ms)}  {severity}  {alert.title}", 2)
        say(f"  {_ways(row['deliveries'])}", 4)
        print(f"  {alert.id}")


async def _show(id: str, as_json: bool) -> None:
    async with reading() as db:
        store = AlertStore(db)
        row = _found(id, await store.one(id))
        attempts = await store.attempts(id)
    if as_json:
        print_json({**_plain(row), "attempts": [_attempt(one) for one in attempts]})
        return
    alert = Alert.model_validate(row["content"])
    say(f"{alert.title} ({alert.severity}, {alert.status})", 2)
    for line in alert.text.splitlines():
        say(line, 2)
    if alert.advice:
        say(f"What can be done: {alert.advice}", 2)
    say(f"{alert.kind} of {alert.subject}, decided {utc(alert.at_ms)}", 2)
    for delivery in row["deliveries"]:
        say(f"{delivery['channel']}: {_way(delivery)}", 2)
    if attempts:
        rows = table("Attempt", "Channel", "Took", "End", right=("Took",))
        for one in attempts:
            rows.add_row(
                utc(int(one["at"].timestamp() * 1000)),
                one["channel"],
                f"{one['took_ms']} ms",
                one["error"] or one["outcome"],
            )
        show(rows)


async def _resend(id: str, channel: str | None, reason: str, actor: str, as_json: bool) -> None:
    async with reading() as db:
        settings = (await ConfigurationStore(db).load()).notifier
        row = _found(id, await AlertStore(db).one(id))
        alert = Alert.model_validate(row["content"])
        known = ", ".join(sorted(settings.channels)) or "none"
        if channel is not None and channel not in settings.channels:
            raise ConfigurationError(f"--channel {channel}: no such channel (there is: {known})")
        went = [one["channel"] for one in row["deliveries"] if one["channel"] in settings.channels]
        channels = [channel] if channel is not None else went
        if not channels:
            raise ConfigurationError(
                f"{id} went to no channel that there is: add --channel (there is: {known})"
            )
        for name in channels:
            owner = settings.channels[name].tenant
            if owner is not None and name not in settings.channels_for(alert):
                raise ConfigurationError(
                    f"--channel {name}: is tenant {owner}'s own, and this alert is not about it"
                )
        for name in channels:
            message = single(alert, settings.channels[name], settings)
            entry = written(
                AuditEntry,
                at_ms=now_ms(),
                actor=actor,
                reason=reason,
                action="resend",
                target=f"alert/{id}",
                after={"channel": name},
                request_id=new_command_id(),
            )
            await ChannelStore(db).again(
                name, message.model_dump(mode="json"), message.topic, id, entry
            )
    if as_json:
        print_json({"alert": id, "channels": channels})
        return
    say(f"sent again to {', '.join(channels)}; headgate alerts show tells how it ended", 2)


async def _silence(made: Silence, as_json: bool) -> None:
    async with reading() as db:
        await SilenceStore(db).add(made, [_audit(made, "silence", made.actor, made.reason)])
    if as_json:
        print_json(made)
        return
    say(f"no word of alerts with {_of(made)} until {utc(made.until_ms)}", 2)
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
    rows = table("Id", "Alerts with", "For", "By")
    for one in found:
        rows.add_row(one.id, _of(one), left(one.until_ms), f"{one.actor}: {one.reason}")
    show(rows)


async def _unsilence(id: str, reason: str, actor: str, as_json: bool) -> None:
    async with reading() as db:
        store = SilenceStore(db)
        one = next((one for one in await store.in_force() if one.id == id), None)
        if one is None or not await store.end(id, [_audit(one, "unsilence", actor, reason)]):
            raise ConfigurationError(
                f"{id}: no such silence holds; headgate alerts silences lists those that do"
            )
    if as_json:
        print_json({"id": id})
        return
    say(f"alerts with {_of(one)} are told of again", 2)


def _audit(silence: Silence, action: str, actor: str, reason: str) -> AuditEntry:
    return written(
        AuditEntry,
        at_ms=now_ms(),
        actor=actor,
        reason=reason,
        action=action,
        target=f"silence/{silence.id}",
        after=silence.model_dump(mode="json", exclude={"actor", "reason"}),
        request_id=silence.id,
    )


def _of(silence: Silence) -> str:
    parts = ("kind", "severity", "subject", "tenant")
    return ", ".join(f"{p} {getattr(silence, p)}" for p in parts if getattr(silence, p))


def _found(id: str, row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise ConfigurationError(f"{id}: no such alert; headgate alerts list shows the latest")
    return row


def _ways(deliveries: list[dict[str, Any]]) -> str:
    told = "; ".join(f"{one['channel']}: {_way(one)}" for one in deliveries)
    return told or "to no channel: none is configured for it"


def _way(delivery: dict[str, Any]) -> str:
    state, message = delivery["state"], delivery["message"] or ""
    together = ", in one message with others" if message.startswith(("group:", "summary:")) else ""
    if state == "composed":
        attempts, error = delivery["attempts"], delivery["error"]
        return f"not taken yet, {attempts} attempts{together}" + (f": {error}" if error else "")
    note = f": {delivery['note']}" if delivery["note"] else ""
    return f"{state}{together}{note}"


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    taken: Any = json.loads(json.dumps(row["deliveries"]))
    return {
        "alert": row["content"],
        "taken_at": row["taken_at"].isoformat(),
        "deliveries": taken,
    }


def _attempt(row: asyncpg.Record) -> dict[str, Any]:
    return {**dict(row), "at": row["at"].isoformat()}
