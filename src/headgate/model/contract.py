"""What every contract has in common: validated, immutable, strict about what it knows."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

STORED: Final[dict[str, Any]] = {"is_stored": True}
"""The context in which what was applied before is validated."""


def is_stored(info: ValidationInfo) -> bool:
    """Return whether this was applied before: mistakes that were not refused then are borne."""
    context: dict[str, Any] = info.context or {}
    return context.get("is_stored") is True


class Contract(BaseModel):
    """Base of all messages and configuration: frozen, unknown keys refused.

    Messages hold only plain JSON types (integers in milliseconds, strings, booleans), so that they
    mean the same under any payload converter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(BaseModel):
    """Base of messages between processes of different ages: unknown keys are left aside.

    A newer gate may say more than an older breaker understands; what it has always said still
    counts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*"
_NAME_MAX: Final = 200
NAME_PATTERN: Final = f"^{_NAME}$"

Name = Annotated[str, Field(min_length=1, max_length=_NAME_MAX, pattern=NAME_PATTERN)]
"""The name of a tenant, downstream, resource or pool: letters, digits and ``. _ : @ / + -``."""


def is_name(text: str) -> bool:
    """Return whether a text is a ``Name``."""
    return len(text) <= _NAME_MAX and re.fullmatch(_NAME, text) is not None


LAST_MS: Final = 253_402_300_799_000
"""The end of the year 9999 in Unix time: the last of what people and databases can write."""

Millis = Annotated[int, Field(ge=0, le=LAST_MS)]
"""A duration or a Unix time, in milliseconds."""

Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""How many of something."""


def _printable(text: str) -> str:
    """Refuse control characters: Postgres keeps no NUL, and terminals obey the others."""
    if any((ord(sign) < 32 and sign not in "\n\t") or ord(sign) == 127 for sign in text):
        raise ValueError("has a control character in it: remove it")
    return text


Actor = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
"""Who does something."""

Why = Annotated[str, Field(min_length=3, max_length=1_000), AfterValidator(_printable)]
"""Why somebody does something."""
