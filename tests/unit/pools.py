"""A governor and real ledgers, between which messages travel at once."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from pydantic import TypeAdapter

from headgate.allocation.governor import Governor
from headgate.allocation.governor_record import GovernorRecord
from headgate.model.ledger import Acquire, Decision, Exchange, Holder
from headgate.model.pool import Damping, PoolSettings, Strategy
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord

NOW_MS = 1_700_000_000_000
ROUND_MS = 100
GOVERNOR = TypeAdapter(GovernorRecord)
LEDGER = TypeAdapter(LedgerRecord)


class PoolOfLedgers:
    """A pool of ``scan``; jobs need one unit unless told otherwise, and are given back by hand."""

    def __init__(
        self,
        capacity: int,
        quotas: dict[str, Quota],
        group_of: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.now_ms = NOW_MS
        self.settings = PoolSettings(
            capacity={"scan": capacity},
            tenants={tenant: (group_of or {}).get(tenant) for tenant in quotas},
            damping=Damping(round_ms=ROUND_MS, min_hold_ms=200, demand_half_life_ms=500),
            source="listed",
            **{"strategy": Strategy.RESERVED, **settings},
        )
        self.governor = Governor.begin("p", self.settings, 1)
        self.ledgers = {
            tenant: Ledger.begin(
                tenant,
                LedgerSettings(quotas={"scan": quota}, pools={"scan": "p"}, source="listed"),
                1,
            )
            for tenant, quota in quotas.items()
        }
        self.told: list[str] = []
        self._numbers: Iterator[int] = count()
        self.settle()

    def ask(
        self,
        tenant: str,
        jobs: int = 1,
        priority: int = 0,
        wait_ms: int = 10**9,
        units: int = 1,
    ) -> list[Decision]:
        acquires = [
            Acquire(
                id=f"{tenant}-{next(self._numbers):05}",
                holder=Holder(workflow_id="w"),
                resource="scan",
                units=units,
                wait_until_ms=self.now_ms + wait_ms,
                priority=priority,
            )
            for _ in range(jobs)
        ]
        ledger = self.ledgers[tenant]
        decisions = ledger.exchange(Exchange(gate="g", acquires=acquires), self.now_ms).decisions
        ledger.check_conservation()
        return decisions

    def give_back(self, tenant: str, jobs: int = 1) -> None:
        ledger = self.ledgers[tenant]
        held = list(ledger.record.permits)[:jobs]
        ledger.exchange(Exchange(gate="g", releases=held), self.now_ms)
        ledger.check_conservation()

    def settle(self) -> None:
        """Let messages travel until there is none."""
        for _ in range(50):
            moved = False
            for ledger in self.ledgers.values():
                # As the workflow does: nothing happens to it between what it has a timer for.
                deadline = ledger.next_deadline()
                if deadline is not None and deadline <= self.now_ms:
                    ledger.advance(self.now_ms)
                at_ms = ledger.demands_due_at_ms()
                if ledger.demands_due() or (at_ms is not None and at_ms <= self.now_ms):
                    demands = ledger.demands()
                    ledger.demands_sent(demands)
                    for demand in demands:
                        self.governor.demand(demand, self.now_ms)
                    moved = True
            for tenant in self.governor.to_tell():
                message = self.governor.allocation_of(tenant)
                self.governor.told(tenant, message.sequence, True)
                self.told.append(tenant)
                self.ledgers[tenant].allocate(message, self.now_ms)
                self.ledgers[tenant].check_conservation()
                moved = True
            if not moved:
                return
        raise AssertionError("governor and ledgers never cease to talk")

    def wait(self, ms: int) -> None:
        """Let time pass, and let everybody do what it is time for."""
        until_ms = self.now_ms + ms
        self.settle()
        while self.now_ms < until_ms:
            self.now_ms = min(until_ms, self.now_ms + ROUND_MS)
            self.governor.advance(self.now_ms)
            deadline = self.governor.next_deadline()
            assert deadline is None or deadline > self.now_ms
            self.settle()

    def again(self) -> None:
        """Continue all as new."""
        self.governor = Governor(GOVERNOR.validate_json(GOVERNOR.dump_json(self.governor.record)))
        self.ledgers = {
            tenant: Ledger(LEDGER.validate_json(LEDGER.dump_json(ledger.record)))
            for tenant, ledger in self.ledgers.items()
        }

    def held(self, tenant: str) -> int:
        return self.ledgers[tenant].view().units_held.get("scan", 0)

    def waiting(self, tenant: str) -> int:
        return self.ledgers[tenant].view().waiting.get("scan", 0)
