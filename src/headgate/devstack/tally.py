"""The figures of a demo, counted from what really happened."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from headgate.devstack.observer import Observer
from headgate.devstack.receiver import Receiver
from headgate.devstack.replay import ReplayResult
from headgate.model.breaker import BreakerView, Transition
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView


@dataclass(slots=True)
class Jobs:
    """The jobs of a run, as their workflows ended."""

    started: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return self.started - sum(self.ended.values())

    @property
    def waiting(self) -> int:
        """Jobs that had not ended when the demo was over, and were cancelled."""
        return self.running + self.ended["cancelled"]


@dataclass(slots=True)
class Books:
    """What Postgres has: the last snapshot of everything."""

    breakers: list[BreakerView] = field(default_factory=list)
    ledgers: list[LedgerView] = field(default_factory=list)
    pools: list[PoolView] = field(default_factory=list)
    transitions: list[tuple[str, Transition]] = field(default_factory=list)

    def permits(self) -> dict[str, int]:
        """Return the permits of all ledgers, by how they ended."""
        accounts = [account for ledger in self.ledgers for account in ledger.accounts.values()]
        names = ("granted", "released", "expired", "reclaimed", "held")
        return {name: sum(getattr(account, name) for account in accounts) for name in names}

    def rejected(self) -> dict[str, int]:
        """Return the calls that gates did not let pass, by downstream."""
        return {breaker.downstream: breaker.rejected for breaker in self.breakers}


def summary(
    jobs: Jobs,
    observer: Observer,
    before: Books,
    after: Books,
    receiver: Receiver,
    replay: ReplayResult,
    startup_ms: int,
    seconds: float,
    changes: Iterable[tuple[int, str]] = (),
) -> dict[str, Any]:
    """Return the one object that ``headgate demo --json`` prints.

    Args:
        jobs: How the jobs ended.
        observer: What the downstreams saw.
        before: What Postgres had at the beginning, when the state folder had been used before.
        after: What it has at the end.
        receiver: What reached the webhook.
        replay: Of all histories.
        startup_ms: From the command to the first job.
        seconds: How long jobs were submitted and finished.
        changes: When people changed what, see ``Observer.over_grants``.
    """
    rejected_before, rejected = before.rejected(), after.rejected()
    names = sorted({*observer.calls, *(name for name, count in rejected.items() if count)})
    permits_before, permits = before.permits(), after.permits()
    calls = {}
    for name in names:
        seen = observer.calls.get(name)
        calls[name] = {
            "admitted": seen.admitted if seen else 0,
            "rejected": rejected.get(name, 0) - rejected_before.get(name, 0),
            "failed": seen.failed if seen else 0,
        }
    return {
        "jobs": {
            "started": jobs.started,
            "succeeded": jobs.ended["succeeded"],
            "failed": jobs.ended["failed"],
            "refused": jobs.ended["refused"],
            "waiting": jobs.waiting,
        },
        "calls": calls,
        "breaker_transitions": [
            {
                "downstream": downstream,
                "at_ms": step.at_ms,
                "from": step.source,
                "to": step.target,
                "reason": step.reason,
            }
            for downstream, step in after.transitions
        ],
        # What a run before left held counts as granted in this one, in which it is resolved.
        "permits": {
            **{name: permits[name] - permits_before[name] for name in permits},
            "granted": permits["granted"] - permits_before["granted"] + permits_before["held"],
            "held": permits["held"],
        },
        "over_grants": observer.over_grants(changes),
        "alerts_delivered": len(receiver.alerts),
        "snapshots": {"breakers": len(after.breakers), "ledgers": len(after.ledgers)},
        "history_replay": {"checked": replay.checked, "failed": replay.failed},
        "startup_ms": startup_ms,
        "jobs_per_second": round((jobs.started - jobs.waiting) / seconds, 2) if seconds else 0.0,
    }
