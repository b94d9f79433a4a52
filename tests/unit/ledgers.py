"""Ledgers to test, and requests to make of them."""

from typing import Any

from pydantic import TypeAdapter

from headgate.model.ledger import Acquire, Decision, Exchange, Holder, Outcome
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord

NOW_MS = 1_700_000_000_000
RECORD = TypeAdapter(LedgerRecord)
GRANTED, WAITING, DENIED = Outcome.GRANTED, Outcome.WAITING, Outcome.DENIED


def quotas(**by_resource: Any) -> LedgerSettings:
    return LedgerSettings(
        quotas={name: Quota.model_validate(quota) for name, quota in by_resource.items()},
        source="listed",
    )


def make(**quota: Any) -> Ledger:
    return Ledger.begin("acme", quotas(scan=quota), incarnation=1, check_every_ms=1_000)


def acquire(
    id: str,
    *,
    wait_ms: int | None = None,
    units: int = 1,
    priority: int = 0,
    resource: str = "scan",
    also: dict[str, int] | None = None,
    now_ms: int = NOW_MS,
) -> Acquire:
    return Acquire(
        id=id,
        holder=Holder(workflow_id=f"job-{id}", run_id="run"),
        resource=resource,
        units=units,
        also=also or {},
        wait_until_ms=None if wait_ms is None else now_ms + wait_ms,
        priority=priority,
    )


def ask(ledger: Ledger, id: str, *, now_ms: int = NOW_MS, **request: Any) -> Decision:
    message = Exchange(gate="g", acquires=[acquire(id, now_ms=now_ms, **request)])
    [decision] = ledger.exchange(message, now_ms).decisions
    ledger.check_conservation()
    return decision


def come_and_go(ledger: Ledger, after_ms: int = 0) -> None:
    """Let it see a permit come back, so that it knows how long one is held."""
    ask(ledger, "gone")
    ledger.release("gone", NOW_MS + after_ms)


def code(decision: Decision) -> ReasonCode:
    assert decision.reason is not None
    return decision.reason.code


def again(ledger: Ledger) -> Ledger:
    """Return the ledger as it is after continue-as-new."""
    return Ledger(RECORD.validate_json(RECORD.dump_json(ledger.record)), 1_000)
