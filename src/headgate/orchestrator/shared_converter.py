"""The SDK's pydantic converter, with one cache of type adapters for all workflow runs."""

from typing import Final

from temporalio.contrib.pydantic import (
    PydanticJSONPlainPayloadConverter,
    PydanticPayloadConverter,
)
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
)

_MOST_CACHED: Final = 128
"""Types whose adapters are kept. A class that the sandbox has loaded anew for a run is another type
in each run, and what is kept of it keeps the module alive: hence not more."""

_JSON: Final = PydanticJSONPlainPayloadConverter(max_cached_type_adapters=_MOST_CACHED)
_ENCODINGS: Final[tuple[EncodingPayloadConverter, ...]] = tuple(
    _JSON if isinstance(one, JSONPlainPayloadConverter) else one
    for one in DefaultPayloadConverter.default_encoding_payload_converters
)


class SharedPydanticPayloadConverter(PydanticPayloadConverter):
    """Converts as the SDK's own does.

    The SDK makes a converter for every run of a workflow, and a new one makes its type adapters
    anew: half a millisecond for each dataclass that a job takes or gives. These hold no state of
    a run, so all runs of a process may share them.
    """

    def __init__(self) -> None:
        CompositePayloadConverter.__init__(self, *_ENCODINGS)
