"""Bearer tokens of an OpenID provider: who they say somebody is, once they are proven."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

import httpx2
import jwt

from headgate.api.principal import ROLES, Principal
from headgate.api.settings import OidcSettings
from headgate.model.errors import UnavailableError

_LEEWAY_S: Final = 30
_KEYS_S: Final = 300.0
_AGAIN_S: Final = 10.0
_MOST_TOKEN: Final = 16_384


class TokenError(Exception):
    """A token that opens nothing; says why."""


class Oidc:
    """Verifies the tokens of one issuer.

    Args:
        settings: Whose.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._keys: dict[str, jwt.PyJWK] = {}
        self._loaded_s = -_KEYS_S
        self._loading = asyncio.Lock()

    async def principal(self, token: str) -> Principal:
        """Return whom a token stands for.

        Raises:
            TokenError: It is not genuine, not for us, over, or names no role.
            UnavailableError: The issuer's keys cannot be had.
        """
        settings = self._settings
        if len(token) > _MOST_TOKEN:
            raise TokenError("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenError(f"the token cannot be read: {error}") from error
        if header.get("alg") not in settings.algorithms:
            raise TokenError("the token is signed with an algorithm that is not accepted")
        key = await self._key(str(header.get("kid", "")))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise TokenError(f"the token is refused: {error}") from error
        return self._principal(claims)

    def _principal(self, claims: dict[str, Any]) -> Principal:
        said = claims.get(self._settings.role_claim)
        named = said if isinstance(said, list) else [said]
        roles = [ROLES[name] for name in named if isinstance(name, str) and name in ROLES]
        if not roles:
            raise TokenError(f"the token names no role in its claim {self._settings.role_claim}")
        tenant = claims.get(self._settings.tenant_claim)
        if tenant is not None and (not isinstance(tenant, str) or not tenant):
            # Not "of all tenants": a claim that cannot be read must not widen what a token opens.
            raise TokenError(f"the claim {self._settings.tenant_claim} is not a tenant")
        subject = str(claims["sub"])
        name = claims.get(self._settings.name_claim)
        shown = name if isinstance(name, str) and name else subject
        return Principal(shown[:200], max(roles), "oidc", f"oidc:{subject}", tenant)

    async def _key(self, kid: str) -> jwt.PyJWK:
        async with self._loading:
            age_s = time.monotonic() - self._loaded_s
            # A key that is not known may be new; but nobody makes us ask all the time.
            if age_s > _KEYS_S or (kid not in self._keys and age_s > _AGAIN_S):
                try:
                    self._keys = await self._load()
                except (OSError, ValueError, httpx2.HTTPError, jwt.PyJWTError) as error:
                    if not self._keys:
                        raise UnavailableError(
                            f"the keys of {self._settings.issuer} cannot be had from "
                            f"{self._settings.jwks}: {' '.join(str(error).split())}",
                            "the keys of the issuer of tokens cannot be had",
                        ) from error
                self._loaded_s = time.monotonic()
        if kid not in self._keys:
            raise TokenError("the token is signed with a key that the issuer does not have")
        return self._keys[kid]

    async def _load(self) -> dict[str, jwt.PyJWK]:
        place = self._settings.jwks
        if place.startswith(("https://", "http://")):
            async with httpx2.AsyncClient(timeout=5, follow_redirects=False) as client:
                answer = await client.get(place)
                answer.raise_for_status()
                document = answer.json()
        else:
            document = json.loads(await asyncio.to_thread(Path(place).read_text, "utf-8"))
        found = jwt.PyJWKSet.from_dict(document)
        return {str(key.key_id or ""): key for key in found.keys}
