"""The pydantic converter that runs share."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from temporalio.contrib.pydantic import PydanticPayloadConverter

from headgate.orchestrator.shared_converter import SharedPydanticPayloadConverter


@dataclass
class Plain:
    """What a job takes."""

    name: str
    wait: timedelta


class Model(BaseModel):
    """What a job gives."""

    of: list[Plain]


VALUES: list[tuple[Any, Any]] = [
    (Plain("a", timedelta(seconds=3)), Plain),
    (Model(of=[Plain("b", timedelta(0))]), Model),
    ({"a": [1, None]}, dict[str, list[int | None]]),
    (b"bytes", bytes),
    (None, None),
    ("text", None),
]


@pytest.mark.parametrize(("value", "kind"), VALUES)
def test_it_writes_and_reads_as_the_sdks_own_does(value: Any, kind: Any) -> None:
    own, shared = PydanticPayloadConverter(), SharedPydanticPayloadConverter()
    kinds = None if kind is None else [kind]
    payloads = shared.to_payloads([value])
    assert payloads == own.to_payloads([value])
    assert shared.from_payloads(payloads, kinds) == own.from_payloads(payloads, kinds) == [value]


def test_a_run_needs_no_type_adapters_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = SharedPydanticPayloadConverter().to_payloads([VALUES[0][0]])
    first = SharedPydanticPayloadConverter().from_payloads(payloads, [Plain])

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a type adapter was made")

    monkeypatch.setattr(TypeAdapter, "__init__", refuse)
    assert SharedPydanticPayloadConverter().from_payloads(payloads, [Plain]) == first
    with pytest.raises(AssertionError, match="a type adapter was made"):
        PydanticPayloadConverter().from_payloads(payloads, [Plain])
