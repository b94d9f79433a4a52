"""A record as text that is small enough to be carried: as JSON, and compressed when it is long.

Temporal warns of payloads above 512 KB and refuses those above 2 MB. Short records stay JSON, which
people can read in the Temporal UI.
"""

from base64 import b64decode, b64encode
from typing import Final
from zlib import compress, decompress

PACKED_FROM: Final = 32_768
"""Characters from which on a text is compressed."""

PACKED: Final = "zlib:"
"""Begins a text that is compressed."""


def pack(text: str) -> str:
    """Return ``text``, compressed if it is long."""
    if len(text) < PACKED_FROM:
        return text
    return PACKED + b64encode(compress(text.encode())).decode()


def unpack(text: str) -> str:
    """Return what was packed."""
    if not text.startswith(PACKED):
        return text
    return decompress(b64decode(text.removeprefix(PACKED))).decode()
