"""What a ledger would tell the governors of its pools if it had other settings."""

from dataclasses import replace

from headgate.model.pool import Claim
from headgate.model.settings import LedgerSettings
from headgate.quota.ledger import Ledger
from headgate.quota.limits import Limits, limits_at
from headgate.quota.record import LedgerRecord, take_settings


def configured(record: LedgerRecord, settings: LedgerSettings) -> LedgerRecord:
    """Return a record with other settings.

    What people have set stays, for the ledger and for all tenants.
    """
    then = replace(record)
    take_settings(
        then, settings.model_copy(update={"resource_throttles": record.resource_throttles})
    )
    return then


def claims_with(
    record: LedgerRecord, settings: LedgerSettings, now_ms: int
) -> dict[str, dict[str, Claim]]:
    """Return what the ledger would claim, by pool and resource: reckoned by the ledger itself.

    Time does nothing to it meanwhile: who holds and who waits stays so.

    Args:
        record: Of the ledger; nothing of it that matters is changed.
        settings: That it would have.
        now_ms: When, Unix time.
    """
    then = replace(configured(record, settings), settled_at_ms=now_ms)
    return {demand.pool: demand.claims for demand in Ledger(then).demands()}


def limits_with(
    record: LedgerRecord, settings: LedgerSettings, resource: str, at_ms: int
) -> Limits | None:
    """Return what would limit a resource at some time; None: there is no quota of it."""
    return limits_at(configured(record, settings), resource, at_ms)
