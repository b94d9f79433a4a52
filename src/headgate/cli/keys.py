"""``headgate keys``: who may use the API."""

import asyncio
from datetime import UTC, datetime, timedelta

import typer

from headgate.api.principal import ROLES
from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.tables import print_json, say, show, table
from headgate.model.errors import ConfigurationError, NotFoundError
from headgate.orchestrator.key_warning import key_warning
from headgate.orchestrator.times import lasting
from headgate.store.keys import ApiKey, KeyStore, RoleName

app = typer.Typer(help="Make, list and revoke the keys of the API.", no_args_is_help=True)


@app.command("create")
def create(
    name: str = typer.Argument(help="Whom it stands for; the actor in the audit."),
    role: str = typer.Option("viewer", "--role", help="viewer, operator or admin."),
    tenant: str | None = typer.Option(None, "--tenant", help="Only for this tenant."),
    duration: str | None = typer.Option("90d", "--for", help="How long it is valid; such as 90d."),
    never_expires: bool = typer.Option(False, "--never-expires", help="Until it is revoked."),
    reason: str = typer.Option("a key was made", "--reason", help="Why; stands in the audit."),
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Make a key. It is shown once, and nowhere kept: Headgate only has a hash of it."""
    if role not in ROLES:
        raise ConfigurationError(f"--role {role}: write viewer, operator or admin")
    chosen: RoleName = "viewer" if role == "viewer" else "operator"
    if role == "admin":
        chosen = "admin"
    options.name(name, "name")
    if tenant is not None:
        options.name(tenant, "tenant")
    lasts = None if never_expires else options.for_ms(duration)
    by = options.asked(reason, actor, dry_run, request_id)
    of = f" of tenant {tenant}" if tenant else ""
    if dry_run:
        warning = asyncio.run(_tried(chosen, tenant))
        plan = {"name": name, "role": role, "tenant": tenant, "for_ms": lasts, "dry_run": True}
        if as_json:
            print_json({**plan, "warning": warning})
        else:
            left = "until it is revoked" if lasts is None else f"for {lasting(lasts)}"
            print(f"{name} would be {role}{of}, {left}; no key was made")
            if warning is not None:
                say(warning)
        return

    async def run() -> tuple[ApiKey, str, bool, str | None]:
        async with reading() as db:
            await by.note(db, "key")
            is_first, warning = not await KeyStore(db).any(), await key_warning(db, chosen, tenant)
            made = await KeyStore(db).create(
                name,
                chosen,
                by.actor,
                tenant,
                None if lasts is None else timedelta(milliseconds=lasts),
                reason=by.reason,
                request_id=by.id,
            )
            return *made, is_first, warning

    key, text, is_first, warning = asyncio.run(run())
    if as_json:
        print_json({**key.model_dump(mode="json"), "key": text, "warning": warning})
        return
    until = "until it is revoked" if key.expires_at is None else f"until {_day(key.expires_at)}"
    print(text)
    print(f"{name} is {role}{of}, {until}; this key cannot be shown again")
    if warning is not None:
        say(warning)
    if is_first:
        say("it is the first: what was open to all on this machine asks for a key within seconds")


@app.command("list")
def list_keys(as_json: bool = options.JSON) -> None:
    """List all keys there have been, without their secrets."""

    async def run() -> list[ApiKey]:
        async with reading() as db:
            return await KeyStore(db).list()

    keys = asyncio.run(run())
    if as_json:
        print_json(keys)
        return
    if not keys:
        print("there is no key; without one the API is only served on this machine, open to all")
        return
    rows = table("Id", "Name", "Role", "Tenant", "State", "Last used", whole=("Id", "Tenant"))
    for key in keys:
        used = "never" if key.used_at is None else _day(key.used_at)
        rows.add_row(key.id, key.name, key.role, key.tenant or "all", _state(key), used)
    show(rows)


@app.command("revoke")
def revoke(
    id: str = typer.Argument(help="As keys list has it."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Refuse a key from now on, and end the logins that were made with it."""
    by = options.asked(reason, actor, dry_run, request_id)

    async def run() -> bool:
        async with reading() as db:
            if by.dry_run:
                key = await KeyStore(db).one(id)
                return key is not None and key.revoked_at is None
            await by.note(db, f"key/{id}")
            return await KeyStore(db).revoke(id, by.actor, by.reason, request_id=by.id)

    if not asyncio.run(run()):
        raise NotFoundError(f"there is no key {id!r} that is not revoked: see headgate keys list")
    if as_json:
        print_json({"id": id, "revoked_by": by.actor, "dry_run": dry_run})
        return
    print(f"{id} {'would be' if dry_run else 'is'} revoked")


async def _tried(role: RoleName, tenant: str | None) -> str | None:
    if tenant is None:
        return None
    async with reading() as db:
        return await key_warning(db, role, tenant)


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked by {key.revoked_by}"
    if key.expires_at is None:
        return "valid"
    over = not key.is_valid(datetime.now(UTC))
    return f"over since {_day(key.expires_at)}" if over else f"until {_day(key.expires_at)}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"
