"""Keys of the API: who may use it. Their secrets are shown once, and only kept as hashes."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from headgate.api.access import Admin
from headgate.api.paging import Cursor, Limit, Page, part_of
from headgate.api.principal import Principal
from headgate.api.problems import not_found
from headgate.api.service import Service, service_of
from headgate.api.writes import Adding, ByHand, Done
from headgate.model.contract import Name
from headgate.orchestrator.key_warning import key_warning
from headgate.orchestrator.times import utc
from headgate.store.keys import ApiKey, RoleName

router = APIRouter(prefix="/v1/keys", tags=["keys"])

_DAY_MS = 86_400_000
KeyState = Literal["valid", "over", "revoked"]


class Key(BaseModel):
    """A key, without its secret.

    Attributes:
        id: The part of it that may be shown.
        name: Whom it stands for; the actor in the audit.
        role: What it may do.
        tenant: Only for this tenant; null: for all.
        state: Whether it may be used now.
        created_at_ms: When it was made, Unix time.
        created_by: Who made it.
        expires_at_ms: From when on it is refused; null: not before it is revoked.
        revoked_at_ms: Since when it is refused.
        revoked_by: Who revoked it.
        used_at_ms: When it was last used, about to a minute; null: never.
    """

    id: str
    name: str
    role: RoleName
    tenant: str | None
    state: KeyState
    created_at_ms: int
    created_by: str
    expires_at_ms: int | None
    revoked_at_ms: int | None
    revoked_by: str | None
    used_at_ms: int | None


class KeyOrder(ByHand):
    """A key to be made.

    Attributes:
        name: Whom it stands for.
        role: What it may do.
        tenant: Only for this tenant; null: for all.
        for_ms: How long it is valid; null: until it is revoked.
    """

    name: Name
    role: RoleName = "viewer"
    tenant: Name | None = None
    for_ms: Annotated[int, Field(ge=60_000, le=3_650 * _DAY_MS)] | None = 90 * _DAY_MS


class MadeKey(BaseModel):
    """A key that was made.

    Attributes:
        key: The key; null: none was made.
        secret: What its owner sends. It cannot be had again.
        message: What is done, in words.
    """

    key: Key | None
    secret: str | None
    message: str


class RevokedKey(BaseModel):
    """A key as it is after it was revoked, or before; ``message``: what is done, in words."""

    key: Key
    message: str


@router.get("")
async def list_keys(
    request: Request, _: Admin, limit: Limit = 200, cursor: Cursor = None
) -> Page[Key]:
    """List all keys there have been, without their secrets, the newest first."""
    return part_of(await all_keys(service_of(request)), limit, cursor)


@router.post("")
async def create(write: Adding, principal: Admin, body: KeyOrder) -> Done[MadeKey]:
    """Make a key. Its secret is in this answer, and nowhere else: Headgate keeps a hash of it."""
    service, id = write.service, await write.begin(principal, body, None, "key")
    lasts = None if body.for_ms is None else timedelta(milliseconds=body.for_ms)
    made = MadeKey(key=None, secret=None, message=await _making(service, body, lasts))
    if not body.dry_run:
        key, secret = await service.keys.create(
            body.name,
            body.role,
            principal.name,
            body.tenant,
            lasts,
            reason=body.reason,
            request_id=id,
        )
        made = made.model_copy(update={"key": _shown(key), "secret": secret})
    return write.done(id, body.dry_run, None, "", made)


@router.post("/{id:segment}/revoke")
async def revoke(
    write: Adding,
    principal: Admin,
    id: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="As `GET /v1/keys` has it.")],
    body: ByHand,
) -> Done[RevokedKey]:
    """Refuse a key from now on, and end the logins that were made with it."""
    service = write.service
    request_id = await write.begin(principal, body, None, f"key/{id}")
    absent = not_found(f"there is no key {id!r} that is not revoked; GET /v1/keys lists all")
    key = await service.keys.one(id)
    if key is None:
        raise absent
    message = await _revoking(service, key, principal)
    if body.dry_run:
        done = key.revoked_at is None
    else:
        done = await service.keys.revoke(id, principal.name, body.reason, request_id=request_id)
    if not done:
        raise absent
    now = await service.keys.one(id) or key
    return write.done(
        request_id, body.dry_run, None, "", RevokedKey(key=_shown(now), message=message)
    )


async def all_keys(service: Service) -> list[Key]:
    """Return all keys there have been, the newest first."""
    return [_shown(key) for key in await service.keys.list()]


async def _making(service: Service, body: KeyOrder, lasts: timedelta | None) -> str:
    until = "until it is revoked"
    if lasts is not None:
        until = f"until {utc(round((datetime.now(UTC) + lasts).timestamp() * 1_000))}"
    of = "all tenants" if body.tenant is None else f"tenant {body.tenant}"
    message = f"make a key for {body.name}, {body.role} of {of}, {until}"
    if not await service.keys.any():
        message += "; within seconds everybody has to show one"
    warning = await key_warning(service.database, body.role, body.tenant)
    return message if warning is None else f"{message}; {warning}"


async def _revoking(service: Service, key: ApiKey, principal: Principal) -> str:
    message = f"refuse {key.name}'s key {key.id} ({key.role}) and end its logins"
    if principal.id == f"key:{key.id}":
        message += "; it is the one that you are using"
    now = datetime.now(UTC)
    others = [
        one
        for one in await service.keys.list()
        if one.id != key.id and one.role == "admin" and one.tenant is None and one.is_valid(now)
    ]
    if key.role == "admin" and not others:
        message += "; no other key is an admin's, so the next is made with headgate keys create"
    return message


def _shown(key: ApiKey) -> Key:
    state: KeyState = "valid" if key.is_valid(datetime.now(UTC)) else "over"
    return Key(
        id=key.id,
        name=key.name,
        role=key.role,
        tenant=key.tenant,
        state="revoked" if key.revoked_at is not None else state,
        created_at_ms=_ms(key.created_at),
        created_by=key.created_by,
        expires_at_ms=None if key.expires_at is None else _ms(key.expires_at),
        revoked_at_ms=None if key.revoked_at is None else _ms(key.revoked_at),
        revoked_by=key.revoked_by,
        used_at_ms=None if key.used_at is None else _ms(key.used_at),
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)
