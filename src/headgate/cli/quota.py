"""``headgate quota``: what tenants may take and do take, and what operators set for a time."""

import asyncio
from collections.abc import Callable

import typer

from headgate.cli import options
from headgate.cli.apply import print_changes
from headgate.cli.options import Asked, ledger_command, operating, reading
from headgate.cli.tables import ago, ends, percent, print_json, say, show, table
from headgate.gate.clock import now_ms
from headgate.model.errors import ConfigurationError
from headgate.model.ids import DEFAULT
from headgate.model.ledger import (
    CommandReply,
    LedgerAction,
    LedgerView,
    Lift,
    LimitView,
    Resume,
    SetOverride,
    SetPause,
)
from headgate.model.quota import Quota, QuotaChanges
from headgate.orchestrator.configure import Configurator
from headgate.orchestrator.configured_quota import QuotaOrder, QuotaSet, set_quota
from headgate.orchestrator.durations import moment
from headgate.orchestrator.operate import command_ledger
from headgate.orchestrator.times import lasting, utc
from headgate.store.migrate import require_current
from headgate.store.snapshots import SnapshotStore
from headgate.view.changed import differences
from headgate.view.standing import quota_source, used_and_leased
from headgate.view.words import requests_wait

app = typer.Typer(
    help="See quotas; override, pause, resume a tenant for a time.", no_args_is_help=True
)

_TENANT = typer.Argument(help="The tenant.")
_RESOURCE = typer.Argument("*", help="The resource; all of them, if not given.")
_LISTED = typer.Argument(help="The tenant; '*' for those that are not listed.")
_NAMED = typer.Argument(help="The resource; '*' for those that are not named.")
_EXAMPLE = "max_active=20"


@app.command("list")
def list_quotas(as_json: bool = options.JSON) -> None:
    """List every tenant with what it holds and waits for, as Postgres has it."""
    asyncio.run(_list(as_json))


@app.command("show")
def show_quota(tenant: str = _TENANT, as_json: bool = options.JSON) -> None:
    """Show the limits of a tenant, what is used of them, and what operators have set."""
    asyncio.run(_show(tenant, as_json))


@app.command("override")
def override(
    tenant: str = _TENANT,
    resource: str = typer.Argument(help="The resource."),
    changes: list[str] = typer.Argument(
        help="Fields of the quota, such as max_active=20 rate=5/s; none takes a limit away."
    ),
    duration: str | None = typer.Option(
        None, "--for", help="How long from when it begins, such as 2h."
    ),
    begin: str | None = typer.Option(
        None, "--from", help="When it begins, such as 2026-11-24T22:00Z."
    ),
    end: str | None = typer.Option(None, "--until", help="When it ends."),
    allow_below_usage: bool = options.BELOW_USAGE,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Set another quota for a time; then the configured one holds again by itself."""
    if (duration is None) == (end is None):
        raise ConfigurationError("say how long: either --for or --until, perhaps with --from")
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    fields = options.pairs(changes, _EXAMPLE)
    begins_at_ms = None if begin is None else moment(begin, "--from")
    for_ms = options.for_ms(duration)
    if end is not None:
        ends_at_ms = moment(end, "--until")
    else:
        ends_at_ms = max(now_ms(), begins_at_ms or 0) + (for_ms or 0)
    if begins_at_ms is not None and ends_at_ms <= begins_at_ms:
        raise ConfigurationError(
            f"--until {end!r} is not after --from {begin!r}: an override lasts for a time"
        )
    action = options.written(
        SetOverride,
        resource=options.name(resource, "resource"),
        changes=options.written(QuotaChanges, **fields),
        begins_at_ms=begins_at_ms,
        ends_at_ms=ends_at_ms,
        for_ms=for_ms,
    )
    tell(tenant, action, by, as_json, below_usage=allow_below_usage)


@app.command("set")
def set_configured(
    tenant: str = _LISTED,
    resource: str = _NAMED,
    changes: list[str] = typer.Argument(
        help="Fields of the quota, such as max_active=20 leased=true; none: as if never written."
    ),
    allow_below_usage: bool = options.BELOW_USAGE,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Change one configured quota for good; what is not named of it stays as it is.

    Of a resource that had no quota of its own it stays as that of '*' has it. A file that headgate
    apply takes may change it back: headgate export has what is applied.
    """
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    fields = options.pairs(changes, _EXAMPLE)

    def changed(old: Quota | None) -> Quota:
        known = {} if old is None else old.model_dump(mode="json", exclude_unset=True)
        merged = {**known, **fields}
        return options.written(
            Quota, **{name: value for name, value in merged.items() if value is not None}
        )

    _configure(tenant, resource, changed, by, allow_below_usage, as_json)


@app.command("unset")
def unset_configured(
    tenant: str = _LISTED,
    resource: str = _NAMED,
    allow_below_usage: bool = options.BELOW_USAGE,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Take one quota out of the configuration; what holds for '*' then holds for the resource."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    _configure(tenant, resource, lambda _: None, by, allow_below_usage, as_json)


def _configure(
    tenant: str,
    resource: str,
    change: Callable[[Quota | None], Quota | None],
    by: Asked,
    allow_below_usage: bool,
    as_json: bool,
) -> None:
    for text, what in ((tenant, "tenant"), (resource, "resource")):
        if text != DEFAULT:
            options.name(text, what)
    order = QuotaOrder(
        tenant=tenant,
        resource=resource,
        change=change,
        actor=by.actor,
        reason=by.reason,
        request_id=by.id,
        how=options.CLI,
        if_revision=by.if_revision,
        allow_below_usage=allow_below_usage,
        dry_run=by.dry_run,
    )

    async def run() -> QuotaSet:
        async with operating() as (client, db):
            await require_current(db)
            await by.note(db, tenant, None if tenant == DEFAULT else "ledger")
            return await set_quota(Configurator(client, db), db, order)

    done = asyncio.run(run())
    if as_json:
        print_json({"changes": done.changes, "dry_run": by.dry_run, "revision": done.revision})
        return
    if not done.changes:
        print("nothing to change: it is configured so already")
        return
    print_changes(done.changes, by.dry_run)


@app.command("pause")
def pause(
    tenant: str = _TENANT,
    resource: str = _RESOURCE,
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Grant nothing to a tenant, for a time or until resume."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    asked = options.written(SetPause, resource=resource)
    tell(tenant, asked.until(options.until_ms(duration, until)), by, as_json)


@app.command("resume")
def resume(
    tenant: str = _TENANT,
    resource: str = _RESOURCE,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """End every pause and cut that was set for exactly this."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    action = options.written(Resume, resource=resource)
    tell(tenant, action, by, as_json)


@app.command("lift")
def lift(
    tenant: str = _TENANT,
    id: str = typer.Argument(help="Of the override or throttle, as quota show has it."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """End one override or throttle of a tenant."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    tell(tenant, options.written(Lift, id=id), by, as_json)


def tell(
    tenant: str, action: LedgerAction, by: Asked, as_json: bool, *, below_usage: bool = False
) -> None:
    """Tell a ledger something, and print what it says."""
    command = ledger_command(action, by, below_usage=below_usage)

    async def run() -> CommandReply:
        async with operating() as (client, db):
            await by.note(db, tenant, "ledger")
            return await command_ledger(client, db, tenant, command)

    options.name(tenant, "tenant")
    print_reply(asyncio.run(run()), as_json)


def print_reply(reply: CommandReply, as_json: bool, about: str = "") -> None:
    """Print what a ledger says of a command.

    Raises:
        ConfigurationError: It refuses.
    """
    if not reply.accepted:
        hint = "; repeat it with --allow-below-usage" if reply.refused == "below_usage" else ""
        message = reply.message.partition(": say so with")[0]
        raise ConfigurationError(f"{about}{message}{hint}")
    if as_json:
        print_json(reply)
        return
    say(f"{about}{'would do: ' if reply.dry_run else ''}{reply.message}", 2)
    if reply.after.get("changes"):
        before = reply.before.get("changes", reply.before)
        for one in differences(before, reply.after["changes"], utc):
            say(f"  {one.name}: {one.before} -> {one.after}", 4)
    ends_at_ms = reply.after.get("ends_at_ms", reply.after.get("until_ms"))
    if reply.after.get("id"):
        # Tried once more it has another id: this one is never seen again.
        print(ends(ends_at_ms) if reply.dry_run else f"{reply.after['id']}, {ends(ends_at_ms)}")


async def _list(as_json: bool) -> None:
    async with reading() as db:
        store = SnapshotStore(db)
        views, saved = await store.ledgers(), await store.saved_at("ledger")
    if as_json:
        print_json([_with_age(view, saved.get(view.tenant)) for view in views])
        return
    found = table(
        *("Tenant", "Resource", "Used", "Leased", "Limit", "Waiting", "Set", "Changed"),
        right=("Used", "Leased", "Limit", "Waiting"),
        whole=("Tenant",),
    )
    for view in views:
        names = sorted({*view.limits, *view.units_held, *view.waiting})
        for number, resource in enumerate(names or ["-"]):
            found.add_row(
                view.tenant if number == 0 else "",
                resource,
                *map(str, used_and_leased(view, resource)),
                _room(view.limits.get(resource)),
                str(view.waiting.get(resource, 0)),
                _set(view, resource),
                ago(saved.get(view.tenant)) if number == 0 else "",
            )
    show(found)


async def _show(tenant: str, as_json: bool) -> None:
    async with reading() as db:
        store = SnapshotStore(db)
        view, saved = await store.ledger(tenant), (await store.saved_at("ledger")).get(tenant)
    if view is None:
        raise ConfigurationError(
            f"no ledger is known for {tenant!r}, so nothing has been asked for: "
            "see headgate quota list"
        )
    if as_json:
        print_json(_with_age(view, saved))
        return
    group = f", of group {view.group}" if view.group else ""
    say(f"{tenant}{group}: {quota_source(view, now_ms())}; last change {ago(saved)}", 2)
    if view.paused:
        print(f"suspended by the configuration: {view.paused}")
    for resource in sorted({*view.limits, *view.units_held, *view.waiting}):
        _show_resource(view, resource)
    _show_set(view)
    if any(view.waiting.values()):
        print(f"who holds and who waits: headgate holders {tenant}")


def _show_resource(view: LedgerView, resource: str) -> None:
    quota = (view.quotas or {}).get(resource, (view.quotas or {}).get("*", Quota()))
    limits = view.limits.get(resource, LimitView())
    account = view.accounts.get(resource)
    used, leased = used_and_leased(view, resource)
    waiting = view.waiting.get(resource, 0)
    print(f"{resource}")
    idle = f", {leased} more leased to gates and idle" if leased else ""
    _line("used", f"{used}{idle}" + (f", {requests_wait(waiting)}" if waiting else ""))
    if limits.paused:
        _line("paused", limits.paused)
    if limits.max_active is not None or quota.max_active is not None:
        _line("max_active", _compared(limits.max_active, quota.max_active))
    if limits.pool is not None:
        units = "no limit" if limits.allocated is None else f"{limits.allocated}"
        _line("pool", f"{units} of {limits.pool}")
    if limits.guaranteed or quota.guaranteed:
        _line("guaranteed", _compared(limits.guaranteed, quota.guaranteed))
    if limits.rate is not None or quota.rate is not None:
        _line("rate", _compared(limits.rate, quota.rate))
    for kind, window in sorted(limits.windows.items()):
        over = window.ends_at_ms <= now_ms()
        used = 0 if over else window.used
        configured = getattr(quota, kind)
        changed = "" if configured == window.limit else f" (configured: {configured})"
        reset = "" if over else f", resets in {lasting(window.ends_at_ms - now_ms())}"
        at = "" if over else f" at {utc(window.ends_at_ms)}"
        _line(kind, f"{used} of {window.limit} used{changed}{reset}{at}")
    if account is not None:
        ended = account.released + account.expired + account.reclaimed
        _line("permits", f"{account.granted} granted, {ended} ended, {account.denied} refused")


def _show_set(view: LedgerView) -> None:
    """Show what operators have set, as far as it is not over."""
    for one in view.overrides:
        if one.ends_at_ms <= now_ms():
            continue
        changes = " ".join(f"{key}={value}" for key, value in _named(one.changes).items())
        begins = f"from {utc(one.begins_at_ms)} " if one.begins_at_ms > now_ms() else ""
        print(f"override {one.id}: {one.resource} {changes}")
        print(f"  {begins}{ends(one.ends_at_ms)}, by {one.actor}: {one.reason}")
    for cut in view.throttles:
        if cut.until_ms is not None and cut.until_ms <= now_ms():
            continue
        what = "paused" if cut.share == 0 else f"cut to {percent(cut.share)}"
        everyone = cut in view.resource_throttles
        print(f"throttle {cut.id}: {_all(cut.resource)} {what}{' for all' if everyone else ''}")
        print(f"  {ends(cut.until_ms)}, by {cut.actor}: {cut.reason}")


def _named(changes: QuotaChanges) -> dict[str, object]:
    return {
        key: "none" if value is None else value
        for key, value in changes.model_dump(mode="json").items()
    }


def _line(label: str, value: str) -> None:
    print(f"  {label:11} {value}")


def _compared(now: object, configured: object) -> str:
    """Return a limit that holds, with the configured one where that is another."""
    text = "no limit" if now is None else str(now)
    if now == configured:
        return text
    return f"{text} (configured: {'no limit' if configured is None else configured})"


def _room(limits: LimitView | None) -> str:
    if limits is None:
        return "-"
    rooms = [room for room in (limits.max_active, limits.allocated) if room is not None]
    return str(min(rooms)) if rooms else "-"


def _set(view: LedgerView, resource: str) -> str:
    """Return in few words what operators have set."""
    limits = view.limits.get(resource)
    if limits is not None and limits.paused:
        return "paused"
    words = []
    cuts = [
        cut.share
        for cut in view.throttles
        if cut.resource in (resource, "*") and (cut.until_ms is None or cut.until_ms > now_ms())
    ]
    if cuts:
        words.append(f"cut to {percent(min(cuts))}")
    if any(o.resource == resource and o.ends_at_ms > now_ms() for o in view.overrides):
        words.append("override")
    return ", ".join(words) or "-"


def _all(resource: str) -> str:
    return "all" if resource == "*" else resource


def _with_age(view: LedgerView, saved_at_ms: int | None) -> dict[str, object]:
    return {**view.model_dump(mode="json"), "saved_at_ms": saved_at_ms}
