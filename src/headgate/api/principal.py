"""Who calls, and what that one may do."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

How = Literal["key", "session", "oidc", "open"]
"""How somebody was authenticated; ``open``: not at all, on this machine only."""


class Role(IntEnum):
    """What somebody may do; each may also do what those below may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


ROLES: Final = {role.name.lower(): role for role in Role}


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    Attributes:
        name: The actor in the audit.
        role: What it may do.
        how: How it was authenticated.
        id: What its requests are counted by.
        tenant: Only of this tenant; None: of all.
    """

    name: str
    role: Role
    how: How
    id: str
    tenant: str | None = None

    @property
    def described(self) -> str:
        """How it was authenticated, with the id of the key, for the audit."""
        return self.how if self.how == "open" else f"{self.how} {self.id.partition(':')[2]}"
