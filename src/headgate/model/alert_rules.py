"""When people are told of something: the ``alerts`` of ``headgate.yaml``."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_serializer

from headgate.model.contract import Contract, Message

_DAY_MS = 86_400_000
Percent = Annotated[int, Field(ge=1, le=100)]
Span = Annotated[int, Field(ge=1_000, le=30 * _DAY_MS)]
"""Milliseconds: from a second to 30 days."""


class Flapping(Contract):
    """When a breaker that opens again and again is told of once, and then no more.

    Attributes:
        openings: So many openings and re-openings ...
        within_ms: ... within this time; or since it was last CLOSED, however long that took.
        calm_ms: It has calmed down when it has been CLOSED for so long.
    """

    openings: Annotated[int, Field(ge=2, le=100)] = 5
    within_ms: Span = 900_000
    calm_ms: Span = 600_000


class AlertRules(Contract):
    """When people are told of something; docs/alerts.md. Null turns a rule off.

    Attributes:
        usage_levels: Percent of a quota at which people are told; an empty list: never.
        usage_margin: A level is left when usage is so many percent points below it ...
        calm_ms: ... for so long. Other rules say that something is over after this time, too.
        repeat_ms: What lasts is told again after this time, and then each time that it has passed.
        forecast_from: From this percentage of a calendar window on, people are told when it will
            be used up before it ends, at the rate of the last while.
        denied_ms: For so long every request for a resource was refused.
        waiting_ms: For so long a job has waited for a resource.
        guarantee_ms: For so long a tenant has had less of a pool than it wants and is guaranteed.
        half_open_ms: For so long a breaker has been HALF_OPEN.
        flapping: When a breaker opens again and again.
        expiring_ms: So long before its end, people are told of an override or a throttle, if it
            was set for more than twice as long.
        reclaimed_every_ms: Permits whose holders have closed without giving them back are told of
            together, what comes together within this time.
        snapshot_lag_ms: For so long a workflow could not save its state.
        notifier_ms: For so long no alert of a workflow could be delivered.
        notify_task_queue: Where workflows hand their alerts over, such as that of ``headgate
            notifier run --task-queue``; null: as they were started, else where they run.
    """

    usage_levels: Annotated[list[Percent], Field(max_length=20)] = [80, 90, 100]
    usage_margin: Annotated[int, Field(ge=1, le=50)] = 5
    calm_ms: Span = 300_000
    repeat_ms: Span | None = 14_400_000
    forecast_from: Percent | None = 50
    denied_ms: Span | None = 300_000
    waiting_ms: Span | None = 900_000
    guarantee_ms: Span | None = 120_000
    half_open_ms: Span | None = 60_000
    flapping: Flapping | None = Flapping()
    expiring_ms: Span | None = 900_000
    reclaimed_every_ms: Span | None = 300_000
    snapshot_lag_ms: Span | None = 300_000
    notifier_ms: Span | None = 900_000
    notify_task_queue: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @field_validator("usage_levels")
    @classmethod
    def _rise(cls, levels: list[int]) -> list[int]:
        if levels != sorted(set(levels)):
            rising = ", ".join(str(level) for level in sorted(set(levels)))
            raise ValueError(f"the levels must rise, each written once: write [{rising}]")
        return levels


class AlertChanges(AlertRules):
    """The rules that are different for one downstream or tenant; the others stay as they are."""

    @model_serializer(mode="plain")
    def _what_is_named(self) -> dict[str, Any]:
        # Also what is named with a default value: the rules of all may say something else.
        return {
            name: value.model_dump() if isinstance(value, Contract) else value
            for name in sorted(self.model_fields_set)
            for value in (getattr(self, name),)
        }

    def over(self, rules: AlertRules) -> AlertRules:
        """Return ``rules`` with these changes."""
        changes = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        return rules.model_copy(update=changes)


class AlertsView(Message):
    """What a workflow has told, and could not deliver.

    Attributes:
        open: What people were told of and lasts, by the key of its alerts: since when, Unix time.
        collapsed: Alerts that were replaced by a summary, for want of room or of a Notifier.
        undelivered_since_ms: Since when no alert could be delivered, once that is long.
    """

    open: dict[str, int] = {}
    collapsed: int = 0
    undelivered_since_ms: int | None = None
