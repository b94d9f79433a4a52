"""API keys and the sessions that were begun with them; secrets are only kept as hashes."""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import asyncpg

from headgate.model.contract import Message
from headgate.store.database import Database

RoleName = Literal["viewer", "operator", "admin"]

KEY_PREFIX: Final = "hgk_"
_ID: Final = re.compile("[0-9a-f]{12}")
_USED_EVERY: Final = timedelta(minutes=1)
"""How exactly it is written down when a key was used; not with every request."""


class ApiKey(Message):
    """A key, without its secret.

    Attributes:
        id: The part of it that may be shown.
        name: Whom it stands for; the actor in the audit.
        role: What it may do.
        tenant: Only for this tenant; null: for all.
        created_at: When it was made.
        created_by: Who made it.
        expires_at: From when on it is refused; null: never.
        revoked_at: Since when it is refused.
        revoked_by: Who revoked it.
        used_at: When it was last used, about to a minute.
    """

    id: str
    name: str
    role: RoleName
    tenant: str | None = None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether it may be used at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyStore:
    """The tables ``api_key`` and ``api_session``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        name: str,
        role: RoleName,
        created_by: str,
        tenant: str | None = None,
        lasts: timedelta | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key, with a line in the audit.

        Returns:
            The key, and its secret text, which cannot be had again.
        """
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        expires_at = None if lasts is None else datetime.now(UTC) + lasts
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(
                "INSERT INTO api_key (id, secret_hash, name, role, tenant, created_by, expires_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *",
                id,
                _hashed(secret),
                name,
                role,
                tenant,
                created_by,
                expires_at,
            )
            key = _key(row)
            shown = key.model_dump(mode="json", exclude_none=True, exclude={"created_at"})
            await _note(connection, created_by, "key_created", id, "a key was made", after=shown)
        return key, f"{KEY_PREFIX}{id}_{secret}"

    async def list(self) -> list[ApiKey]:
        """Return all keys there have been, the newest first."""
        rows = await self._database.fetch("SELECT * FROM api_key ORDER BY created_at DESC, id")
        return [_key(row) for row in rows]

    async def any(self) -> bool:
        """Return whether there has ever been a key."""
        return bool(await self._database.fetch_value("SELECT EXISTS (SELECT FROM api_key)"))

    async def revoke(self, id: str, actor: str, reason: str) -> bool:
        """Refuse a key from now on, and end its sessions, with a line in the audit.

        Returns:
            Whether there is a key of this id that was not revoked yet.
        """
        async with self._database.connection() as connection, connection.transaction():
            name = await connection.fetchval(
                "UPDATE api_key SET revoked_at = now(), revoked_by = $2 "
                "WHERE id = $1 AND revoked_at IS NULL RETURNING name",
                id,
                actor,
            )
            if name is None:
                return False
            await connection.execute("DELETE FROM api_session WHERE key_id = $1", id)
            await _note(connection, actor, "key_revoked", id, reason, before={"name": name})
            return True

    async def find(self, text: str) -> ApiKey | None:
        """Return the key that ``text`` is the secret of, if it may be used now."""
        id, _, secret = text.removeprefix(KEY_PREFIX).partition("_")
        if not text.startswith(KEY_PREFIX) or not secret or not _ID.fullmatch(id):
            return None
        rows = await self._database.fetch("SELECT * FROM api_key WHERE id = $1", id)
        if not rows or not hmac.compare_digest(rows[0]["secret_hash"], _hashed(secret)):
            return None
        key, now = _key(rows[0]), datetime.now(UTC)
        if not key.is_valid(now):
            return None
        if key.used_at is None or now - key.used_at > _USED_EVERY:
            await self._database.execute("UPDATE api_key SET used_at = now() WHERE id = $1", id)
        return key

    async def begin_session(self, key: ApiKey, lasts: timedelta) -> str:
        """Return the token of a new session; it ends with the key, at the latest."""
        token = secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + lasts
        if key.expires_at is not None:
            expires_at = min(expires_at, key.expires_at)
        await self._database.execute("DELETE FROM api_session WHERE expires_at < now()")
        await self._database.execute(
            "INSERT INTO api_session (token_hash, key_id, expires_at) VALUES ($1, $2, $3)",
            _hashed(token),
            key.id,
            expires_at,
        )
        return token

    async def session(self, token: str) -> ApiKey | None:
        """Return the key of a session that has not ended."""
        rows = await self._database.fetch(
            "SELECT k.* FROM api_session s JOIN api_key k ON k.id = s.key_id "
            "WHERE s.token_hash = $1 AND s.expires_at > now()",
            _hashed(token),
        )
        key = _key(rows[0]) if rows else None
        return key if key is not None and key.is_valid(datetime.now(UTC)) else None

    async def end_session(self, token: str) -> None:
        """End a session, if there is one."""
        await self._database.execute(
            "DELETE FROM api_session WHERE token_hash = $1", _hashed(token)
        )


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey.model_validate(dict(row))


async def _note(
    connection: asyncpg.Connection,
    actor: str,
    action: str,
    id: str,
    reason: str,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    await connection.execute(
        "INSERT INTO audit (actor, reason, action, target, before, after) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        actor,
        reason,
        action,
        f"key/{id}",
        before,
        after,
    )
