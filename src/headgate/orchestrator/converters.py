"""The user's converter and codec are kept; whether they can carry Headgate's messages is checked.

At start, because a message that does not come through shows much later, as a workflow that is
stuck or a report that is not counted.
"""

import dataclasses
from typing import Final

from temporalio.common import HeaderCodecBehavior
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultPayloadConverter,
    WorkflowSerializationContext,
)

from headgate.breaker import BreakerInput
from headgate.model.breaker import OutcomeBucket, Report
from headgate.model.errors import ConfigurationError
from headgate.model.ids import workflow_id
from headgate.model.ledger import Acquire, Admit, Decision, Exchange, Holder, Outcome
from headgate.model.reason import Reason, ReasonCode
from headgate.orchestrator.shared_converter import SharedPydanticPayloadConverter
from headgate.quota import LedgerInput

_HOLDER: Final = Holder(workflow_id="job-1", run_id="run-1")
_SAMPLES: Final[tuple[object, ...]] = (
    # One of each make: dataclasses, models in models, lists, maps, enums, nulls.
    LedgerInput("acme"),
    BreakerInput("scanner"),
    Admit(id="r1", holder=_HOLDER, tenant="acme", resource="scan", also={"gpu": 2}),
    Decision(
        id="r1",
        outcome=Outcome.DENIED,
        reason=Reason(code=ReasonCode.QUOTA_USED_UP, message="1 of 1 scan", limit=1),
    ),
    Exchange(gate="g1", acquires=[Acquire(id="r1", holder=_HOLDER, resource="scan")]),
)
_UNTYPED: Final = Report(
    gate="g1", seq=1, task_queue="q", buckets=[OutcomeBucket(at_ms=1, epoch=-1, successes=1)]
)
"""Signals take whatever is sent, so their arguments are converted without a type."""

_REMEDY: Final = (
    "derive your payload converter from temporalio.contrib.pydantic.PydanticPayloadConverter, or "
    "put your own encodings before its own, and hand it pydantic models and dataclasses as they are"
)


def with_pydantic(existing: DataConverter | None) -> DataConverter:
    """Make the default payload converter the pydantic one, which runs share; keep all else."""
    existing = existing or pydantic_data_converter
    if existing.payload_converter_class in (DefaultPayloadConverter, PydanticPayloadConverter):
        shared = SharedPydanticPayloadConverter
        return dataclasses.replace(existing, payload_converter_class=shared)
    return existing


def require_chosen(converter: DataConverter) -> None:
    """Make sure that a client which has its plugin on the worker does without the default.

    Raises:
        ConfigurationError: It has the default converter, which is slow and warns of every model.
    """
    if converter.payload_converter_class is DefaultPayloadConverter:
        raise ConfigurationError(
            "HeadgatePlugin is on the worker, where it cannot set the converter, and its client "
            "has the default one: give the plugin to Client.connect instead, or connect with "
            "temporalio.contrib.pydantic.pydantic_data_converter"
        )


def require_carried(converter: DataConverter, namespace: str) -> None:
    """Make sure that Headgate's messages come through a payload converter as they went in.

    Args:
        converter: Of the client, worker or replayer.
        namespace: Of the client, for converters that look at it.

    Raises:
        ConfigurationError: Some message does not.
    """
    payloads = _in_context(converter, namespace).payload_converter
    who = f"the payload converter {_name(converter.payload_converter_class)}"
    for sample in _SAMPLES:
        kind = type(sample)
        try:
            (back,) = payloads.from_payloads(payloads.to_payloads([sample]), [kind])
        except Exception as error:
            raise ConfigurationError(
                f"{who} cannot carry Headgate's message {kind.__name__} ({_words(error)}); "
                f"{_REMEDY}"
            ) from error
        if not isinstance(back, kind) or back != sample:
            raise ConfigurationError(
                f"{who} does not give Headgate's message {kind.__name__} back as it was, but a "
                f"{type(back).__name__}; {_REMEDY}"
            )
    try:
        (plain,) = payloads.from_payloads(payloads.to_payloads([_UNTYPED]))
        is_same = Report.model_validate(plain) == _UNTYPED
    except Exception as error:
        raise ConfigurationError(
            f"{who} cannot carry a message of Headgate whose type the receiver does not name "
            f"({_words(error)}); {_REMEDY}"
        ) from error
    if not is_same:
        raise ConfigurationError(
            f"{who} changes a message of Headgate whose type the receiver does not name; {_REMEDY}"
        )


def require_readable_headers(converter: DataConverter, headers: HeaderCodecBehavior) -> None:
    """Make sure that the activity reads the header that its workflow wrote.

    Raises:
        ConfigurationError: Only one of them would use the codec.
    """
    half = headers == HeaderCodecBehavior.WORKFLOW_ONLY_CODEC
    if half and converter.payload_codec is not None:
        raise ConfigurationError(
            "HeadgatePlugin: with header_codec_behavior=WORKFLOW_ONLY_CODEC activities cannot read "
            "the header that names their permit; use CODEC, or NO_CODEC"
        )


async def require_decoded(converter: DataConverter, namespace: str) -> None:
    """Make sure that the payload codec gives back what it was given.

    Args:
        converter: Of the client.
        namespace: Of the client, for codecs that look at it.

    Raises:
        ConfigurationError: It does not; its key or its service may be missing.
    """
    if converter.payload_codec is None:
        return
    who = f"the payload codec {_name(type(converter.payload_codec))}"
    remedy = "check its keys and whatever it calls; job and governance workers need the same one"
    sample = _SAMPLES[0]
    context = _in_context(converter, namespace)
    try:
        (back,) = await context.decode(await context.encode([sample]), [type(sample)])
    except Exception as error:
        raise ConfigurationError(
            f"{who} cannot decode what it has encoded ({_words(error)}); {remedy}"
        ) from error
    if back != sample:
        raise ConfigurationError(f"{who} does not give back what it was given; {remedy}")


def _in_context(converter: DataConverter, namespace: str) -> DataConverter:
    context = WorkflowSerializationContext(
        namespace=namespace, workflow_id=workflow_id("ledger", "acme")
    )
    return converter.with_context(context)


def _name(kind: type[object]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
