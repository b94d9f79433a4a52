"""API keys and the sessions that were begun with them; secrets are only kept as hashes."""

import hashlib
import hmac
import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import asyncpg

from headgate.model.audit import AuditEntry
from headgate.model.contract import Message
from headgate.model.errors import ConfigurationError
from headgate.store.audit import is_written, write_audit
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
        *,
        reason: str = "a key was made",
        request_id: str | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key, with a line in the audit.

        Args:
            name: Whom it stands for.
            role: What it may do.
            created_by: Who makes it.
            tenant: Only for this one; None: for all.
            lasts: How long it is valid; None: until it is revoked.
            reason: Why.
            request_id: The same for every attempt; one key is made. None: as many as asked for.

        Returns:
            The key, and its secret text, which cannot be had again.

        Raises:
            ConfigurationError: The request has made its key already, and its text is gone.
        """
        id = secrets.token_hex(6) if request_id is None else _id_of(request_id)
        secret = secrets.token_urlsafe(32)
        expires_at = None if lasts is None else datetime.now(UTC) + lasts
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(
                "INSERT INTO api_key (id, secret_hash, name, role, tenant, created_by, expires_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING *",
                id,
                _hashed(secret),
                name,
                role,
                tenant,
                created_by,
                expires_at,
            )
            if row is None:
                raise ConfigurationError(
                    f"this request has made key {id} already, and its text is shown once: if that "
                    "was lost, revoke the key and make another"
                )
            key = _key(row)
            shown = key.model_dump(mode="json", exclude_none=True, exclude={"created_at"})
            entry = _entry(id, "key_created", created_by, reason, request_id)
            await write_audit(connection, [entry.model_copy(update={"after": shown})])
        return key, f"{KEY_PREFIX}{id}_{secret}"

    async def list(self) -> list[ApiKey]:
        """Return all keys there have been, the newest first."""
        rows = await self._database.fetch("SELECT * FROM api_key ORDER BY created_at DESC, id")
        return [_key(row) for row in rows]

    async def any(self) -> bool:
        """Return whether there has ever been a key."""
        return bool(await self._database.fetch_value("SELECT EXISTS (SELECT FROM api_key)"))

    async def one(self, id: str) -> ApiKey | None:
        """Return a key, also one that is not valid any more; None: there has been none."""
        rows = await self._database.fetch("SELECT * FROM api_key WHERE id = $1", id)
        return _key(rows[0]) if rows else None

    async def revoke(
        self, id: str, actor: str, reason: str, *, request_id: str | None = None
    ) -> bool:
        """Refuse a key from now on, and end its sessions, with a line in the audit.

        Returns:
            Whether there is a key of this id that was not revoked yet, or was by this request.
        """
        entry = _entry(id, "key_revoked", actor, reason, request_id)
        async with self._database.connection() as connection, connection.transaction():
            name = await connection.fetchval(
                "UPDATE api_key SET revoked_at = now(), revoked_by = $2 "
                "WHERE id = $1 AND revoked_at IS NULL RETURNING name",
                id,
                actor,
            )
            if name is None:
                return request_id is not None and await is_written(connection, entry)
            await connection.execute("DELETE FROM api_session WHERE key_id = $1", id)
            await write_audit(connection, [entry.model_copy(update={"before": {"name": name}})])
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


def _id_of(request_id: str) -> str:
    return hashlib.sha256(request_id.encode()).hexdigest()[:12]


def _entry(id: str, action: str, actor: str, reason: str, request_id: str | None) -> AuditEntry:
    return AuditEntry(
        at_ms=time.time_ns() // 1_000_000,
        actor=actor,
        reason=reason,
        action=action,
        target=f"key/{id}",
        request_id=request_id or secrets.token_hex(6),
    )
