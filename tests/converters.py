"""Converters and codecs as users have them: some carry Headgate's messages, some cannot."""

import hashlib
import hmac
import zlib
from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    WithSerializationContext,
)

ENCRYPTED = b"binary/encrypted"


class Cipher(PayloadCodec):
    """Makes payloads illegible, and refuses those that it has not made.

    A stream of hashes and a seal: enough for a test, and not for a secret.
    """

    def __init__(self, key: bytes = b"the key of the tests") -> None:
        self._key = key

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encode(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decode(payload) for payload in payloads]

    def _encode(self, payload: Payload) -> Payload:
        data = self._mixed(payload.SerializeToString())
        return Payload(metadata={"encoding": ENCRYPTED}, data=self._seal(data) + data)

    def _decode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCRYPTED:
            return payload
        seal, data = payload.data[:32], payload.data[32:]
        if not hmac.compare_digest(seal, self._seal(data)):
            raise ValueError("sealed with another key")
        return Payload.FromString(self._mixed(data))

    def _seal(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")

    def _mixed(self, data: bytes) -> bytes:
        stream = hashlib.shake_256(self._key).digest(len(data))
        return bytes(one ^ other for one, other in zip(data, stream, strict=True))


class LostKey(Cipher):
    """Encodes with one key and has another to decode with."""

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await Cipher(b"another key").decode(payloads)


class _Zipped(EncodingPayloadConverter):
    """All values in an encoding of the user's own."""

    def __init__(self) -> None:
        self._plain = PydanticPayloadConverter()

    @property
    def encoding(self) -> str:
        return "json/zipped"

    def to_payload(self, value: Any) -> Payload | None:
        (plain,) = self._plain.to_payloads([value])
        data = zlib.compress(plain.SerializeToString())
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        plain = Payload.FromString(zlib.decompress(payload.data))
        (value,) = self._plain.from_payloads([plain], None if type_hint is None else [type_hint])
        return value


class ZippedConverter(CompositePayloadConverter):
    """Carries everything, in a way that nobody else reads."""

    def __init__(self) -> None:
        super().__init__(_Zipped())


class PlainConverter(DefaultPayloadConverter):
    """The SDK's default converter, insisted upon."""


class StringConverter(CompositePayloadConverter):
    """Carries what JSON knows by itself, and no models."""

    def __init__(self) -> None:
        super().__init__(JSONPlainPayloadConverter(encoder=None))


class _Forgetful(JSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return super().from_payload(payload, None)


class ForgetfulConverter(CompositePayloadConverter):
    """Gives everything back as plain maps and lists."""

    def __init__(self) -> None:
        super().__init__(_Forgetful())


class _Shouting(EncodingPayloadConverter):
    def __init__(self) -> None:
        self._plain = PydanticPayloadConverter()

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        (plain,) = self._plain.to_payloads([value])
        return plain

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        if type_hint is None:
            return payload.data.decode().upper()
        (value,) = self._plain.from_payloads([payload], [type_hint])
        return value


class ShoutingConverter(CompositePayloadConverter):
    """Carries what has a type; what has none comes back as one string."""

    def __init__(self) -> None:
        super().__init__(_Shouting())


class LedgersOnly(PydanticPayloadConverter, WithSerializationContext):
    """Works only where it is told for which workflow."""

    def __init__(self) -> None:
        super().__init__()
        self._context: Any = None

    def with_context(self, context: Any) -> "LedgersOnly":
        known = LedgersOnly()
        known._context = context
        return known

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        assert self._context is not None, "no context"
        return super().to_payloads(values)
