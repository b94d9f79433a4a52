"""The search attributes of governance workflows; opt-in, because they must be registered first."""

from typing import Final

from temporalio.common import SearchAttributeKey

KIND: Final = SearchAttributeKey.for_keyword("HeadgateKind")
BREAKER_STATE: Final = SearchAttributeKey.for_keyword("BreakerState")
