"""All kinds of alerts that there are."""

from typing import Final

from headgate.model.channel_alerts import KINDS as OF_CHANNELS

OF_RULES: Final = (
    "alerts.collapsed",
    "breaker.flapping",
    "breaker.half_open_long",
    "breaker.opened",
    "breaker.recovered",
    "breaker.reopened",
    "guarantee.unmet",
    "notifier.failing",
    "override.expiring",
    "permits.reclaimed",
    "quota.collapsed",
    "quota.denied",
    "quota.forecast",
    "quota.threshold",
    "quota.waiting",
    "snapshot.lag",
    "throttle.expiring",
)
"""Those that workflows decide on; docs/alerts.md."""

KINDS: Final = tuple(sorted((*OF_RULES, *OF_CHANNELS)))
