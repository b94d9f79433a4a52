"""A tenant's entitlement to one resource."""

import re
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_serializer, model_validator

from headgate.model.contract import Contract

_PERIODS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_REFILL_MS: Final = 30 * 86_400_000
_RATE: Final = re.compile(r"^\s*(\d{1,10})\s*/\s*(s|m|h|d)\s*$")


class Rate(Contract):
    """``limit`` permits in ``period_ms``, evenly spread; written ``10/s``, ``600/m``, ``50/h``."""

    limit: Annotated[int, Field(ge=1, le=1_000_000_000)]
    period_ms: Annotated[int, Field(ge=1, le=86_400_000)]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = _RATE.match(value)
        if match is None:
            raise ValueError(f"{value!r} is not a rate: write it like 10/s, 600/m, 50/h or 1000/d")
        return {"limit": int(match[1]), "period_ms": _PERIODS_MS[match[2]]}

    @model_serializer
    def _to_plain(self) -> dict[str, int] | str:
        for letter, period in _PERIODS_MS.items():
            if period == self.period_ms:
                return f"{self.limit}/{letter}"
        return {"limit": self.limit, "period_ms": self.period_ms}

    def __str__(self) -> str:
        plain = self._to_plain()
        return plain if isinstance(plain, str) else f"{self.limit} per {self.period_ms} ms"


class Quota(Contract):
    """What a tenant may take of a resource; what is not set is not limited.

    Attributes:
        max_active: Units that may be held at the same time.
        rate: Units that may be granted over time (GCRA).
        burst: Units that ``rate`` lets pass at once after a pause (default: the limit of ``rate``,
            at most one second's worth and at least one).
        max_hold_ms: A permit not given back by then expires; set it above the longest job.
    """

    max_active: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    rate: Rate | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    max_hold_ms: Annotated[int, Field(ge=100, le=30 * 86_400_000)] = 3_600_000

    @model_validator(mode="after")
    def _burst_needs_rate(self) -> Self:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst without rate limits nothing: add a rate such as 10/s")
        if self.rate is not None:
            refill_ms = self.effective_burst * self.rate.period_ms // self.rate.limit
            if refill_ms > _LONGEST_REFILL_MS:
                raise ValueError(
                    f"a burst of {self.effective_burst} at {self.rate} takes more than 30 days to "
                    "refill: lower the burst or raise the rate"
                )
        return self

    @property
    def effective_burst(self) -> int:
        """Return the burst in units, the default resolved; meaningless without ``rate``."""
        if self.burst is not None:
            return self.burst
        if self.rate is None:
            return 0
        return max(1, min(self.rate.limit, self.rate.limit * 1_000 // self.rate.period_ms))
