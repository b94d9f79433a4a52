"""``headgate notifier``: whether channels work, and the Notifier in a process of its own."""

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack
from typing import Final

import typer
from temporalio.worker import Worker

from headgate.activities.notifications import NotificationActivities
from headgate.alerts.words import many
from headgate.cli import options
from headgate.cli.connect import connect_temporal, database
from headgate.cli.options import Asked, reading
from headgate.cli.tables import ago, print_json, say, show, table
from headgate.model.channels import Channel
from headgate.model.errors import UnavailableError
from headgate.notifier.by_hand import configured, enable_again, send_test
from headgate.notifier.notifier import Notifier
from headgate.store.alerts import AlertStore, Attempt
from headgate.store.channel_views import ChannelView, channel_views
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.migrate import require_current

app = typer.Typer(help="Try channels, enable them again, deliver alerts.", no_args_is_help=True)

_CHANNEL: Final = typer.Argument(help="The channel, as headgate.yaml names it.")
_ASK_S: Final = 0.1


@app.command("list")
def list_channels(as_json: bool = options.JSON) -> None:
    """List the channels: which take alerts, and how many wait for them."""
    asyncio.run(_list(as_json))


@app.command("test")
def test(
    channel: str = _CHANNEL,
    within: int = typer.Option(
        30, "--within", min=1, max=600, help="How many seconds to wait for the answer."
    ),
    reason: str = typer.Option(
        "to see whether alerts arrive", "--reason", help="Why; stands in the audit."
    ),
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Send a test alert the way all others go, and tell whether the channel took it.

    The governance worker sends it, with the secrets of its environment.
    """
    by = options.asked(reason, actor, dry_run, request_id)
    asyncio.run(_test(channel, within, by, as_json))


@app.command("enable")
def enable(
    channel: str = _CHANNEL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Try a channel again at once, also one that was disabled because its endpoint was gone."""
    asyncio.run(_enable(channel, options.asked(reason, actor, dry_run, request_id), as_json))


@app.command("run")
def run(
    task_queue: str | None = typer.Option(
        None,
        "--task-queue",
        help="Also take alerts over from this task queue of Temporal (notify_task_queue).",
    ),
) -> None:
    """Deliver alerts in a process of its own, beside the governance workers.

    It needs HEADGATE_DATABASE_URL and the secrets of the channels; Temporal's client environment
    only with --task-queue. Governance workers with --no-deliver leave all delivering to it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("temporalio").setLevel(logging.WARNING)
    asyncio.run(_run(task_queue))


async def _list(as_json: bool) -> None:
    async with reading() as db:
        channels = (await ConfigurationStore(db).load()).notifier.channels
        views = await channel_views(db, channels)
    if as_json:
        print_json(views)
        return
    if not views:
        print("there is no channel: list some under notifier.channels of headgate.yaml")
        return
    rows = table(
        "Channel",
        "Kind",
        "Of",
        "State",
        "Waiting",
        "Last tried",
        right=["Waiting"],
        whole=["Channel"],
    )
    for one in views:
        tried = "never" if one.last is None else ago(one.last.at_ms)
        rows.add_row(
            one.channel, one.kind, one.tenant or "all", one.state, f"{one.waiting:,}", tried
        )
    show(rows)
    for one in views:
        if one.error is not None:
            say(f"{one.channel}: {one.error}", 2)


async def _test(channel: str, within_s: int, by: Asked, as_json: bool) -> None:
    async with reading() as db:
        configuration = await configured(db, channel)
        await by.note(db, f"channel/{channel}")
        before = (await _view(db, channel, configuration)).last
        id = await send_test(db, channel, by.order)
        if by.dry_run:
            if as_json:
                print_json({"channel": channel, "id": id, "dry_run": True})
            else:
                print(f"{channel} would be sent a test alert")
            return
        last = await _answered(db, channel, configuration, id, before, within_s)
        view = await _view(db, channel, configuration)
    if last.outcome != "delivered":
        raise UnavailableError(f"{last.error}; {_what_follows(view, last)}")
    if as_json:
        print_json({"channel": channel, "id": id, "took_ms": last.took_ms})
        return
    say(f"{channel} took a test alert in {last.took_ms} ms ({id})", 2)


async def _answered(
    db: Database,
    channel: str,
    configuration: Channel,
    id: str,
    before: Attempt | None,
    within_s: int,
) -> Attempt:
    """Return the last attempt at a test alert, as soon as there is one.

    Raises:
        UnavailableError: The channel failed at what waits before it, or nothing was tried in time.
    """
    store, deadline = AlertStore(db), time.monotonic() + within_s
    while True:
        view = await _view(db, channel, configuration)
        if attempts := await store.attempts(id):
            return attempts[-1]
        older = ""
        if view.waiting > 1:
            older = f"; {many(view.waiting - 1, 'older alert')} before it"
        if view.last != before and view.last is not None and view.state in ("failing", "disabled"):
            raise UnavailableError(f"{view.error}; {_what_follows(view, view.last)}{older}")
        if time.monotonic() > deadline:
            error = f"; its last error: {view.error}" if view.error else ""
            raise UnavailableError(
                f"channel {channel}: not tried within {within_s} s{error}. It stays in the "
                f"queue{older}: is a governance worker running, or has the channel more waiting "
                "than its max_per_minute?"
            )
        await asyncio.sleep(_ASK_S)


def _what_follows(view: ChannelView, last: Attempt) -> str:
    if view.state == "disabled":
        return (
            "the channel is disabled: correct it, then headgate notifier enable "
            f"{view.channel} --reason ..."
        )
    if last.outcome == "misconfigured":
        return (
            "nothing was sent: correct it (and start the worker anew, where its environment is "
            "wrong), and the test follows by itself"
        )
    return "the test is tried again as all alerts are"


async def _view(db: Database, channel: str, configuration: Channel) -> ChannelView:
    (view,) = await channel_views(db, {channel: configuration})
    return view


async def _enable(channel: str, by: Asked, as_json: bool) -> None:
    async with reading() as db:
        await configured(db, channel)
        await by.note(db, f"channel/{channel}")
        known = await enable_again(db, channel, by.order)
    if as_json:
        print_json({"channel": channel, "was_used": known, "dry_run": by.dry_run})
        return
    would = "would be" if by.dry_run else "is"
    print(f"{channel} {would} tried again at once" if known else f"{channel} was not disabled")


async def _run(task_queue: str | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with database() as db:
        await require_current(db)
        async with AsyncExitStack() as resources:
            notifier = await resources.enter_async_context(Notifier(db))
            await notifier.check()
            if task_queue is not None:
                worker = Worker(
                    await connect_temporal(),
                    task_queue=task_queue,
                    activities=[NotificationActivities(notifier).notify],
                )
                await resources.enter_async_context(worker)
            notifier.start()
            logging.getLogger("headgate").info("the Notifier delivers from %s", db.address)
            await stopping.wait()
