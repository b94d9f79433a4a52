"""A tenant's entitlement to one resource."""

import re
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from headgate.model.contract import Contract, Message, Millis, Name
from headgate.model.lease import WhenAway, WhenAwayName
from headgate.model.pool import Share, Units, Weight

_PERIODS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST_REFILL_MS: Final = 30 * 86_400_000
_RATE: Final = re.compile(r"^\s*(\d{1,10})\s*/\s*(s|m|h|d)\s*$")
_TIME_OF_DAY: Final = re.compile(r"^([01]\d|2[0-3]):[0-5]\d$")
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_zone(name: str) -> str:
    """Check the name of a time zone against the zone database of this machine."""
    if name != "UTC":
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            raise ValueError(
                f"{name!r} is not a time zone that this machine knows: write an IANA name such as "
                "Europe/Berlin, America/New_York or UTC"
            ) from None
    return name


def _time_of_day(text: str) -> str:
    if _TIME_OF_DAY.match(text) is None:
        raise ValueError(f"{text!r} is not a time of day: write it like 18:00, in quotation marks")
    return text


TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""An IANA name."""

TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
"""A local time, ``HH:MM``."""

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

PauseReason = Annotated[str, Field(min_length=1, max_length=1_000)]
"""Why something is paused, for people."""


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


class Reservation(Contract):
    """A recurring stretch of local time in which other numbers hold; what is not set stays.

    Attributes:
        days: On which days it begins.
        begin: When, in the time zone of the quota.
        end: When it ends; not after ``begin``: on the next day.
        guaranteed: In place of the quota's, as are those that follow.
        max_active: Units that may be held at the same time.
        per_hour: Units that may be granted in an hour of the clock.
        per_day: Likewise, in a day.
        per_month: Likewise, in a month.
    """

    days: Annotated[list[Weekday], Field(min_length=1)] = list(_DAYS)
    begin: TimeOfDay
    end: TimeOfDay
    guaranteed: Units | None = None
    max_active: Units | None = None
    per_hour: Units | None = None
    per_day: Units | None = None
    per_month: Units | None = None

    @model_validator(mode="after")
    def _reserves_something(self) -> Self:
        if not self.changes:
            raise ValueError(
                "a reservation without guaranteed, max_active or per_hour, per_day, per_month "
                "changes nothing: add one"
            )
        return self

    @property
    def changes(self) -> dict[str, int]:
        """What holds in place of the quota's own, by field."""
        return {
            name: value
            for name in ("guaranteed", "max_active", "per_hour", "per_day", "per_month")
            if (value := getattr(self, name)) is not None
        }

    def __str__(self) -> str:
        days = "" if len(set(self.days)) == len(_DAYS) else f" on {', '.join(self.days)}"
        return f"{self.begin} to {self.end}{days}"


class Quota(Contract):
    """What a tenant may take of a resource; what is not set is not limited.

    Attributes:
        max_active: Units that may be held at the same time.
        rate: Units that may be granted over time (GCRA).
        burst: Units that ``rate`` lets pass at once after a pause (default: the limit of ``rate``,
            at most one second's worth and at least one).
        per_hour: Units that may be granted from one full hour of the clock to the next.
        per_day: Likewise, from midnight to midnight.
        per_month: Likewise, from the first of a month to the first of the next.
        time_zone: Whose clock and calendar; an IANA name.
        guaranteed: Units of a pool that the tenant has whenever it wants them.
        borrow_limit: Units of a pool above the guarantee at most; null: no limit.
        lend_limit: Units of an unused guarantee that others may use at most; null: all of them.
        weight: Its part of a pool relative to the others'.
        priority: The tier in a pool with the strategy ``priority``; higher is served first.
        paused: Why nothing is granted; null: it is not paused.
        reservations: When other numbers hold, week by week; where several hold at once, the later
            in this list has the last word.
        max_hold_ms: A permit not given back by then expires, unless its holder is known to run: it
            goes on then, and the holder is looked after again.
        leased: Jobs get their permits out of blocks that gates hold, which costs the ledger next to
            nothing; else each is decided by the ledger, in the order of all.
        when_away: What gates do when their block is over and the ledger cannot be reached.
    """

    max_active: Units | None = None
    rate: Rate | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    per_hour: Units | None = None
    per_day: Units | None = None
    per_month: Units | None = None
    time_zone: TimeZone = "UTC"
    guaranteed: Units = 0
    borrow_limit: Units | None = None
    lend_limit: Units | None = None
    weight: Weight = 1.0
    priority: Annotated[int, Field(ge=-1_000, le=1_000)] = 0
    paused: PauseReason | None = None
    reservations: Annotated[list[Reservation], Field(max_length=100)] = []
    max_hold_ms: Annotated[int, Field(ge=100, le=30 * 86_400_000)] = 3_600_000
    leased: bool = False
    when_away: WhenAwayName = WhenAway.FAIL_STATIC

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst without rate limits nothing: add a rate such as 10/s")
        if self.rate is not None:
            refill_ms = self.effective_burst * self.rate.period_ms // self.rate.limit
            if refill_ms > _LONGEST_REFILL_MS:
                raise ValueError(
                    f"a burst of {self.effective_burst} at {self.rate} takes more than 30 days to "
                    "refill: lower the burst or raise the rate"
                )
        if self.max_active is not None and self.guaranteed > self.max_active:
            raise ValueError(
                f"guaranteed is {self.guaranteed}, but max_active is {self.max_active}: what is "
                "guaranteed could never be held; raise max_active or lower guaranteed"
            )
        if self.lend_limit is not None and self.lend_limit > self.most_guaranteed:
            raise ValueError(
                f"lend_limit is {self.lend_limit}, but no more than {self.most_guaranteed} is "
                "guaranteed: only what is guaranteed can be lent"
            )
        for reservation in self.reservations:
            changes = {"guaranteed": self.guaranteed, "max_active": self.max_active}
            changes.update(reservation.changes)
            guaranteed, most = changes["guaranteed"], changes["max_active"]
            if guaranteed is not None and most is not None and guaranteed > most:
                raise ValueError(
                    f"the reservation {reservation} guarantees {guaranteed}, but max_active is "
                    f"{most} then: raise max_active, there or in the quota"
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

    @property
    def most_guaranteed(self) -> int:
        """Return the highest guarantee, in or out of a reservation."""
        return max([self.guaranteed, *(each.guaranteed or 0 for each in self.reservations)])

    @property
    def share(self) -> Share:
        """Return what the tenant may claim of a pool."""
        return Share(
            weight=self.weight,
            priority=self.priority,
            guaranteed=self.guaranteed,
            borrow_limit=self.borrow_limit,
            lend_limit=self.lend_limit,
            maximum=self.max_active,
        )


class QuotaChanges(Contract):
    """Fields of a quota that are to have other values; null where the quota may have it.

    What is not named stays. ``reservations`` and ``time_zone`` belong into the configuration.
    """

    max_active: Units | None = None
    rate: Rate | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    per_hour: Units | None = None
    per_day: Units | None = None
    per_month: Units | None = None
    guaranteed: Units = 0
    borrow_limit: Units | None = None
    lend_limit: Units | None = None
    weight: Weight = 1.0
    priority: Annotated[int, Field(ge=-1_000, le=1_000)] = 0
    paused: PauseReason | None = None
    max_hold_ms: Annotated[int, Field(ge=100, le=30 * 86_400_000)] = 3_600_000

    @model_validator(mode="before")
    @classmethod
    def _only_what_can_be_overridden(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in ("reservations", "time_zone", "leased", "when_away"):
                if name in value:
                    raise ValueError(
                        f"{name} cannot be overridden for a time: change it in headgate.yaml and "
                        "run headgate apply"
                    )
            if not value:
                raise ValueError("names no field: write which, such as max_active: 20")
        return value

    @model_serializer(mode="wrap")
    def _what_is_named(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in plain(self).items() if name in self.model_fields_set}

    @property
    def values(self) -> dict[str, Any]:
        """The new values, by field."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    @property
    def words(self) -> str:
        """The new values, for people."""
        return ", ".join(
            f"{name} {'none' if value is None else value}" for name, value in self.values.items()
        )


class QuotaOverride(Message):
    """Another quota for a time, after which the quota of the configuration holds again.

    Attributes:
        id: Of the command that set it.
        resource: Whose quota.
        changes: What is different.
        begins_at_ms: From when.
        ends_at_ms: Until when.
        actor: Who set it.
        reason: Why.
    """

    id: str
    resource: Name
    changes: QuotaChanges
    begins_at_ms: Millis
    ends_at_ms: Millis
    actor: str
    reason: str


class Throttle(Message):
    """A pause or a cut set by people; where several hold at once, the strictest does.

    Attributes:
        id: Of the command that set it.
        resource: Of what; ``*``: of all.
        share: What is left of every limit; 0: nothing is granted.
        until_ms: When it ends by itself; null: when people end it.
        actor: Who set it.
        reason: Why.
        since_ms: Since when.
    """

    id: str
    resource: Name | Literal["*"]
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    until_ms: Millis | None = None
    actor: str
    reason: str
    since_ms: Millis = 0
