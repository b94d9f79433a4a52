"""Which downstreams and tenants there are, for those who ask governance workers for permits."""

import asyncio
from typing import Final, Literal

from headgate.model.consistency import not_listed
from headgate.model.errors import UnavailableError
from headgate.store.configuration import ConfigurationStore

_ANSWERS_WITHIN_S: Final = 1.0


class KnownNames:
    """Tells a name that somebody has listed from one that is misspelt, or made up.

    Whoever may ask for a permit may write any name, and a workflow that governs a name stays: none
    is started for what the applied configuration does not know. What has a workflow already goes
    on as it did. A decision does not depend on Postgres: while it is away every name passes.

    Args:
        store: Of the applied configuration.
    """

    def __init__(self, store: ConfigurationStore) -> None:
        self._store = store
        # For good: what was known once has a workflow since.
        self._known: set[tuple[str, str]] = set()

    async def mistaken_downstream(self, name: str) -> str | None:
        """Return what is wrong with the name of a downstream, or None.

        Where the configuration lists no downstream at all, nobody has said which there are.
        """
        if await self._is_known("downstream", name):
            return None
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                listed = await self._store.downstreams()
        except (TimeoutError, UnavailableError):
            return None
        return not_listed(name, listed) if listed else None

    async def is_tenant(self, name: str) -> bool:
        """Return whether there is such a tenant, as far as anybody can know now."""
        return await self._is_known("tenant", name)

    async def _is_known(self, kind: Literal["downstream", "tenant"], name: str) -> bool:
        if (kind, name) in self._known:
            return True
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                is_known = await self._store.is_known(kind, name)
        except (TimeoutError, UnavailableError):
            return True
        if is_known:
            self._known.add((kind, name))
        return is_known
