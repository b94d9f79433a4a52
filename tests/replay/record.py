"""Records the histories that ``test_replay.py`` replays: ``python -m tests.replay.record``.

Plays one scenario on an embedded stack of its own and writes the history of each run of its
workflows to ``histories/<version>-<what>.json``. A file that is there is kept: what a released
version has written into histories must replay for as long as such histories may exist.
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.devstack.stack import Stack
from headgate.gate.kinds import KINDS, governing
from headgate.model.alert_rules import AlertRules, Flapping
from headgate.model.breaker import BreakerCommand, BreakerState, BreakerView, CallOutcome, Report
from headgate.model.entity import EntityOptions
from headgate.model.ids import Kind
from headgate.model.lease import LeaseAsk, LeaseGrant, WaitingCalls
from headgate.model.ledger import (
    Acquire,
    CommandReply,
    Exchange,
    ExchangeReply,
    Holder,
    LedgerAction,
    LedgerCommand,
    LedgerView,
    Outcome,
    Resume,
    SetOverride,
    SetPause,
    SetThrottle,
)
from headgate.model.limits import (
    BackpressurePolicy,
    CallSummary,
    ConcurrencyPolicy,
    LimitPolicy,
    PressureLevel,
    SheddingPolicy,
    Steps,
)
from headgate.model.policy import BreakerPolicy
from headgate.model.pool import Damping, GroupShare, PoolCommand, PoolView, Strategy
from headgate.model.quota import Quota, QuotaChanges, Rate
from headgate.model.settings import BreakerSettings, LedgerSettings, Reconfigure
from headgate.store.database import Database
from headgate.store.migrate import migrate
from headgate.version import __version__
from tests.conftest import PROMPT
from tests.harness import Governance, Orchestrator, acquire, apply, eventually, now_ms, probe
from tests.jobs import ScanJob, ScanJobInput

HISTORIES: Final = Path(__file__).with_name("histories")
POLICY: Final = BreakerPolicy(
    failure_rate=None,
    consecutive_failures=3,
    open_ms=300,
    probes=2,
    probe_deadline_ms=300,
    ramp_ms=300,
)
SCAN: Final = Quota(max_active=1)


class Recorder:
    """Plays the scenario.

    Args:
        stack: Its own, for it stops Postgres.
        governance: Whose workflows have runs of a hundred or so events.
        orchestrator: Whose jobs are recorded.
    """

    def __init__(self, stack: Stack, governance: Governance, orchestrator: Orchestrator) -> None:
        self._stack = stack
        self._governance = governance
        self._orchestrator = orchestrator
        self._seq = 0

    async def play(self) -> dict[str, dict[str, Any]]:
        """Return the histories by what they are of."""
        await self._breaker_trips_and_recovers()
        await self._ledger_grants_and_takes_back()
        jobs = await self._jobs()
        await self._continue_both()
        await self._breaker_trips_and_recovers()
        await self._ledger_grants_and_takes_back()
        await self._pool_is_shared()
        await self._pool_is_under_pressure()
        await self._calls_wait_at_a_gate()
        await self._gate_falls_silent()
        await self._guest_leaves_and_comes_back()
        await self._tenant_leaves_with_more_than_it_may_have()
        await self._tenant_leaves_a_governor_that_was_lost()
        await self._rate_holds_up_what_a_pool_would_give()
        await self._group_is_full()
        await self._waiter_has_closed()
        await self._people_are_told()
        await self._breaker_flaps()
        await self._block_is_left_behind()
        await self._people_say_it_twice()
        await self._capacities_lie_over_each_other()
        found = {f"job-{what}": await _history(handle) for what, handle in jobs.items()}
        kinds: tuple[tuple[Kind, str], ...] = (
            ("breaker", "scanner"),
            ("ledger", "acme"),
            ("governor", "slots"),
        )
        for kind, subject in kinds:
            runs = await self._runs(kind, subject)
            found[f"{kind}-fresh"], found[f"{kind}-carried"] = runs[0], runs[1]
        found["ledger-pooled"] = (await self._runs("ledger", "borrower"))[0]
        found["breaker-followed"] = (await self._runs("breaker", "limited"))[0]
        found["ledger-leased"] = (await self._runs("ledger", "leased"))[0]
        found["ledger-shed"] = (await self._runs("ledger", "many"))[0]
        found["ledger-lined"] = (await self._runs("ledger", "lined"))[0]
        found["ledger-silent"] = (await self._runs("ledger", "silent"))[0]
        found["ledger-left"] = (await self._runs("ledger", "leaver"))[0]
        found["governor-left"] = (await self._runs("governor", "shrinks"))[0]
        found["governor-asked"] = (await self._runs("governor", "asked"))[0]
        found["ledger-usable"] = (await self._runs("ledger", "usable-slow"))[0]
        found["ledger-minded"] = (await self._runs("ledger", "minded"))[0]
        found["governor-full"] = (await self._runs("governor", "full"))[0]
        found["ledger-guest"] = (await self._runs("ledger", "guest"))[0]
        found["governor-stacked"] = (await self._runs("governor", "stacked"))[0]
        found["governor-house"] = (await self._runs("governor", "house"))[0]
        found["breaker-told"] = (await self._runs("breaker", "told"))[0]
        found["breaker-flaps"] = (await self._runs("breaker", "flaps"))[0]
        found["ledger-told"] = (await self._runs("ledger", "told"))[0]
        found["breaker-resumed"] = (await self._runs("breaker", "resumed"))[0]
        found["ledger-repeated"] = (await self._runs("ledger", "repeated"))[0]
        pressed = await self._runs("governor", "pressed")
        found["governor-pressed"], found["governor-pressed-carried"] = pressed[0], pressed[1]
        return found

    # The breaker -------------------------------------------------------------------------------

    async def _report(self, **what: Any) -> None:
        self._seq += 1
        await self._governance.report("scanner", self._seq, **what)

    async def _breaker_trips_and_recovers(self) -> None:
        """Malformed report, trip while Postgres is down, probe lost, probes that succeed."""
        governance = self._governance
        await governance.set_policy("scanner", POLICY)
        await governance.report("scanner", 1, gate="a gate that listens no more")
        await governance.handle("breaker", "scanner").signal("report", "malformed")
        await self._report(successes=5)
        assert self._stack.postgres is not None
        await self._stack.postgres.stop()
        await self._report(failures=3)
        await self._tripped()
        await self._stack.postgres.start()
        view = await governance.until_state("scanner", BreakerState.HALF_OPEN)
        await governance.lease_probes("scanner", view.epoch, f"lost-{self._seq}")
        before = view.epoch
        view = await eventually(
            lambda: governance.breaker_state("scanner"),
            lambda s: s.state is BreakerState.HALF_OPEN and s.epoch > before,
        )
        ids = [f"probe-{self._seq}-{i}" for i in range(2)]
        await governance.lease_probes("scanner", view.epoch, *ids)
        await self._report(probes=[probe(id, view.epoch) for id in ids])
        await governance.until_state("scanner", BreakerState.CLOSED)
        await self._saved("breaker", "scanner")

    async def _tripped(self) -> None:
        await eventually(
            lambda: self._governance.breaker_state("scanner"),
            lambda view: view.state is not BreakerState.CLOSED,
        )

    # The ledger --------------------------------------------------------------------------------

    async def _ledger_grants_and_takes_back(self) -> None:
        """Grant, denial, wait and wake, ghosts reclaimed in both ways, expiry, rate, release."""
        governance = self._governance
        orchestrator = self._orchestrator
        rate = Rate(limit=10, period_ms=1_000)
        await governance.set_quotas(
            "acme", scan=SCAN, short=Quota(max_active=1, max_hold_ms=150), call=Quota(rate=rate)
        )
        number = self._seq
        asks = [acquire(f"{what}-{number}") for what in ("held", "denied")]
        waits = acquire(f"ghost-{number}", wait_ms=60_000)
        short = acquire(f"short-{number}", "short")
        await governance.exchange("acme", [*asks, waits, short])
        job = await orchestrator.start(ScanJobInput(tenant="acme"))
        await eventually(lambda: governance.account("acme"), lambda a: a.waiting.get("scan") == 2)
        await governance.handle("ledger", "acme").signal("release", "malformed")
        await governance.handle("ledger", "acme").signal(
            "release", {"id": f"held-{number}", "tenant": "acme"}
        )
        await job.result()
        calls = [acquire(f"call-{number}-{i}", "call", wait_ms=60_000) for i in range(12)]
        await governance.exchange("acme", calls)
        await eventually(
            lambda: governance.account("acme"),
            lambda a: all(account.held == 0 for account in a.accounts.values()) and not a.waiting,
        )
        await self._saved("ledger", "acme")

    # The pool ----------------------------------------------------------------------------------

    async def _pool_is_shared(self) -> None:
        """Borrowing, giving back, what operators do, until the governor continues as new."""
        governance = self._governance
        quick = Damping(round_ms=50, min_hold_ms=100, demand_half_life_ms=200)
        await governance.set_pool(
            "slots",
            {"lender": Quota(guaranteed=2), "borrower": Quota(guaranteed=1, per_day=100_000)},
            capacity={"scan": 3},
            strategy=Strategy.RESERVED,
            damping=quick,
        )

        async def ask(tenant: str) -> str:
            reply = await governance.exchange(tenant, [acquire(uuid4().hex)])
            (decision,) = reply.decisions
            return decision.id if decision.outcome is Outcome.GRANTED else ""

        async def take(tenant: str, count: int) -> list[str]:
            """Ask again and again, as jobs do that do not wait."""
            return [await eventually(lambda: ask(tenant), bool) for _ in range(count)]

        async def runs() -> int:
            borrowed = await take("borrower", 3)
            await governance.handle("governor", "slots").signal("demand", "malformed")
            asking = asyncio.create_task(take("lender", 2))
            for permit in borrowed:
                await governance.exchange("borrower", [], releases=[permit])
            for permit in await asking:
                await governance.exchange("lender", [], releases=[permit])
            return len(await self._runs("governor", "slots"))

        await runs()
        for action in (
            SetThrottle(resource="scan", share=0.5, until_ms=now_ms() + 300),
            SetPause(resource="*"),
            Resume(resource="*"),
            SetOverride(
                resource="scan",
                changes=QuotaChanges(max_active=2),
                begins_at_ms=now_ms() + 100,
                ends_at_ms=now_ms() + 400,
            ),
        ):
            await self._tell("borrower", action)
        smaller = PoolCommand(
            id="c1", action="throttle", share=0.5, actor="ada", reason="a drill", for_ms=1_000
        )
        await governance.governor("slots").update("command", smaller, "c1", PoolView, 10)
        await eventually(runs, lambda count: count > 1, within_s=120)
        await self._saved("governor", "slots")
        await self._saved("ledger", "borrower")

    async def _pool_is_under_pressure(self) -> None:
        """A limit that is followed and lowered, a level that rises and falls, jobs turned away."""
        governance, orchestrator = self._governance, self._orchestrator
        limit = LimitPolicy(concurrency=ConcurrencyPolicy(initial=4))
        settings = BreakerSettings(limit=limit, pools=["pressed"], source="listed")
        await governance.breaker("limited").update(
            "configure", settings, uuid4().hex, BreakerView, 10
        )
        await governance.set_pool(
            "pressed",
            {"many": Quota(), "few": Quota(guaranteed=1)},
            capacity={"scan": 6},
            damping=Damping(round_ms=50, min_hold_ms=100, demand_half_life_ms=200),
            follows="limited",
            backpressure=BackpressurePolicy(
                queue_age_ms=Steps(saturated=700), waiting=Steps(elevated=4), hold_ms=300
            ),
            shedding=SheddingPolicy(elevated=1, saturated=0.5, emergency=0.5),
        )
        await governance.handle("governor", "pressed").signal("capacity_follows", "malformed")

        async def is_pressed(pressed: bool) -> None:
            await eventually(
                lambda: governance.pool("pressed"),
                lambda view: (view.pressure.level is not PressureLevel.NORMAL) is pressed,
            )

        async def runs() -> int:
            for overloads in (0, 10):
                self._seq += 1
                epoch = (await governance.verdict("limited")).limit_epoch
                calls = CallSummary(
                    gate="g1",
                    seq=self._seq,
                    epoch=epoch,
                    calls=20,
                    duration_ms=2_000,
                    overloads=overloads,
                )
                report = Report(gate="g1", seq=self._seq, task_queue="nobody", calls=calls)
                await governance.breaker("limited").signal("report", report, 10)
            orchestrator.scanner.open.clear()
            jobs = [
                await orchestrator.start(ScanJobInput(tenant=tenant, priority=number % 2))
                for tenant, count in (("many", 14), ("few", 2))
                for number in range(count)
            ]
            await is_pressed(True)
            orchestrator.scanner.open.set()
            for job in jobs:
                with suppress(WorkflowFailureError):  # turned away
                    await job.result()
            await is_pressed(False)
            return len(await self._runs("governor", "pressed"))

        await eventually(runs, lambda count: count > 1, within_s=120)
        await self._saved("governor", "pressed")
        await self._saved("ledger", "many")

    async def _ask(
        self, tenant: str, gate: str, number: int, *, out: int = 0, waiting: int = 0
    ) -> LeaseGrant:
        """Ask for a block as a gate does that has so much out, and at which so much waits."""
        line = [WaitingCalls(priority=0, calls=waiting, units=waiting)] if waiting else []
        ask = LeaseAsk(
            resource="scan",
            number=number,
            wanted=out + waiting,
            ceiling=out,
            in_use=out,
            uses=out,
            started=out,
            starts_ceiling=out,
            grants=out,
            waiting=waiting,
            line=line,
        )
        message = Exchange(gate=gate, leases=[ask])
        ledger = self._governance.ledger(tenant)
        reply = await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 10)
        return reply.leases[0]

    async def _calls_wait_at_a_gate(self) -> None:
        """A gate has the only unit, and more calls wait there than may."""
        governance = self._governance
        await governance.set_pool(
            "line",
            {"lined": Quota()},
            capacity={"scan": 1},
            backpressure=BackpressurePolicy(
                queue_age_ms=Steps(), waiting=Steps(elevated=4), hold_ms=300
            ),
            shedding=SheddingPolicy(elevated=2, saturated=2, emergency=2, min_flow=0),
        )
        numbers = count(1)

        async def ask(waiting: int) -> LeaseGrant:
            return await self._ask("lined", "g", next(numbers), out=1, waiting=waiting)

        await eventually(lambda: ask(6), lambda grant: bool(grant.turn_away))
        await eventually(lambda: ask(0), lambda grant: not grant.turn_away)
        await eventually(
            lambda: governance.pool("line"),
            lambda view: view.pressure.level is PressureLevel.NORMAL,
        )
        await self._saved("ledger", "lined")

    async def _gate_falls_silent(self) -> None:
        """Calls wait at a gate that asks no more; another asks on."""
        governance = self._governance
        await governance.set_pool("quiet", {"silent": Quota()}, capacity={"scan": 2})
        numbers = count(1)

        async def ask_on() -> LeaseGrant:
            return await self._ask("silent", "lively", next(numbers), out=2, waiting=1)

        await ask_on()
        await eventually(
            lambda: governance.account("silent"), lambda view: view.limits["scan"].allocated == 2
        )
        await self._ask("silent", "dead", 1, waiting=3)
        for silent_s in (7, 2):  # it falls silent, and the governor has to be told for so long
            await asyncio.sleep(silent_s)
            await ask_on()
        await self._saved("ledger", "silent")

    async def _guest_leaves_and_comes_back(self) -> None:
        """What never fits beside what is not lent, and what a guest had before it left."""
        governance = self._governance
        host, guest = Quota(guaranteed=3, lend_limit=0), Quota()
        pool: dict[str, Any] = {
            "capacity": {"scan": 4},
            "strategy": Strategy.RESERVED,
            "damping": Damping(round_ms=50, min_hold_ms=100, demand_half_life_ms=200),
            "unlent": {"host": 3},
        }

        async def tell_guest(pools: dict[str, str]) -> None:
            now = LedgerSettings(quotas={"scan": guest}, pools=pools, source="listed")
            await governance.ledger("guest").update("configure", now, uuid4().hex, LedgerView, 10)

        async def take(units: int) -> str:
            request = acquire(uuid4().hex, wait_ms=60_000).model_copy(update={"units": units})
            # A governance workflow that runs for ever holds, so nobody takes it for closed.
            holder = Holder(workflow_id="headgate/governor/house")
            request = request.model_copy(update={"holder": holder})
            await governance.exchange("guest", [request])
            return request.id

        async def guest_has(held: int) -> None:
            await eventually(
                lambda: governance.account("guest"),
                lambda view: (
                    (view.units_held.get("scan", 0), view.waiting.get("scan", 0)) == (held, 0)
                ),
            )

        await governance.set_pool("house", {"host": host, "guest": guest}, **pool)
        await take(2)
        await guest_has(0)
        held = await take(1)
        await guest_has(1)
        await tell_guest({})
        await governance.set_pool("house", {"host": host}, **pool)
        await governance.exchange("guest", [], [held])
        await eventually(lambda: governance.pool("house"), lambda view: not view.conditions)
        await tell_guest({"scan": "house"})
        held = await take(1)
        await governance.set_pool("house", {"host": host, "guest": guest}, **pool)
        await guest_has(1)
        await governance.exchange("guest", [], [held])
        await self._saved("ledger", "guest")
        await self._saved("governor", "house")

    async def _tenant_leaves_with_more_than_it_may_have(self) -> None:
        """A block that is not used alarms nobody; what is held of a pool when it is left."""
        governance = self._governance
        ledger = governance.ledger("leaver")
        both = {"stayer": Quota(), "leaver": Quota()}
        shares: dict[str, Any] = {
            "strategy": Strategy.EQUAL,
            "damping": Damping(round_ms=50, min_hold_ms=100),
        }

        async def reconfigure(pools: dict[str, str], **quota: Any) -> None:
            now = LedgerSettings(
                quotas={"scan": Quota(**quota)}, pools=pools, source="listed", alerts=AlertRules()
            )
            seen = await governance.account("leaver")
            order = Reconfigure(settings=now, if_revision=seen.revision)
            await ledger.update("reconfigure", order, uuid4().hex, LedgerView, 10)

        async def held_is(units: int) -> None:
            await eventually(
                lambda: governance.account("leaver"),
                lambda view: view.units_held.get("scan", 0) == units,
            )

        await governance.set_quotas("leaver", scan=SCAN)
        await reconfigure({}, max_active=2)
        for number, wanted in ((1, 2), (2, 0)):
            ask = LeaseAsk(resource="scan", number=number, wanted=wanted, ceiling=2 * (number - 1))
            message = Exchange(gate="g", leases=[ask])
            await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 10)
        await held_is(0)
        await governance.set_pool("shrinks", both, capacity={"scan": 4}, **shares)
        await reconfigure({"scan": "shrinks"})
        # A governance workflow that runs for ever holds, so nobody takes it for closed.
        holder = Holder(workflow_id="headgate/governor/shrinks")
        jobs = [
            acquire(uuid4().hex, wait_ms=60_000).model_copy(update={"holder": holder})
            for _ in range(2)
        ]
        await governance.exchange("leaver", jobs)
        await held_is(2)
        await governance.set_pool("shrinks", both, capacity={"scan": 1}, **shares)
        await eventually(
            lambda: governance.account("leaver"),
            lambda view: (view.limits["scan"].allocated or 0) < 2,
        )
        await reconfigure({})
        await governance.set_pool("shrinks", {"stayer": Quota()}, capacity={"scan": 1}, **shares)
        await governance.exchange("leaver", [], [job.id for job in jobs])
        await held_is(0)
        await eventually(lambda: governance.pool("shrinks"), lambda view: not view.conditions)
        await self._saved("ledger", "leaver")
        await self._saved("governor", "shrinks")

    async def _tenant_leaves_a_governor_that_was_lost(self) -> None:
        """It has yet to say what it holds; one who had left is asked as well."""
        governance = self._governance
        shares: dict[str, Any] = {
            "strategy": Strategy.EQUAL,
            "damping": Damping(round_ms=50, min_hold_ms=100),
        }
        everybody = dict.fromkeys(("asked-gone", "asked-leaves", "asked-stays"), Quota())
        # A governance workflow that runs for ever holds, so nobody takes it for closed.
        holder = Holder(workflow_id="headgate/governor/asked")
        holds = [acquire(uuid4().hex, wait_ms=60_000) for _ in range(2)]
        holds = [one.model_copy(update={"holder": holder}) for one in holds]
        leavers = ("asked-gone", "asked-leaves")

        await governance.set_pool("asked", everybody, capacity={"scan": 3}, **shares)
        for tenant, one in zip(leavers, holds, strict=True):
            await governance.exchange(tenant, [one])
            await self._held_is(tenant, 1)
        del everybody["asked-gone"]
        await governance.set_pool("asked", everybody, capacity={"scan": 3}, **shares)
        await eventually(lambda: governance.pool("asked"), lambda view: len(view.conditions) == 1)
        await self._saved("governor", "asked")
        await governance.handle("governor", "asked").terminate("lost")
        del everybody["asked-leaves"]
        await governance.set_pool("asked", everybody, capacity={"scan": 3}, **shares)
        await eventually(
            lambda: governance.pool("asked"),
            lambda view: view.conditions != [] and not view.unheard and len(view.members) == 1,
        )
        for tenant, one in zip(leavers, holds, strict=True):
            await governance.set_quotas(tenant, scan=Quota())
            await governance.exchange(tenant, [], [one.id])
        await eventually(lambda: governance.pool("asked"), lambda view: not view.conditions)
        await self._saved("governor", "asked")

    async def _rate_holds_up_what_a_pool_would_give(self) -> None:
        """Others have it until some seconds before the rate lets the next one pass."""
        governance = self._governance
        slow, quick = "usable-slow", "usable-quick"
        shares = {slow: Quota(rate=Rate(limit=4, period_ms=60_000), burst=1), quick: Quota()}
        await governance.set_pool(
            "usable",
            shares,
            capacity={"scan": 4},
            strategy=Strategy.EQUAL,
            damping=Damping(round_ms=50, min_hold_ms=100),
        )
        waits = await self._jobs_of(slow, "usable", 2)
        await self._held_is(slow, 1)
        others = await self._jobs_of(quick, "usable", 4)
        await self._held_is(quick, 3)
        await governance.exchange(quick, [], others)
        await self._held_is(slow, 2)
        await governance.exchange(slow, [], waits)
        await self._saved("ledger", slow)
        await self._saved("governor", "usable")

    async def _jobs_of(self, tenant: str, pool: str, jobs: int, units: int = 1) -> list[str]:
        """Ask for permits that wait; the governor runs for ever, so its permits are never taken."""
        update = {"holder": Holder(workflow_id=f"headgate/governor/{pool}"), "units": units}
        asked = [acquire(uuid4().hex, wait_ms=60_000) for _ in range(jobs)]
        await self._governance.exchange(tenant, [one.model_copy(update=update) for one in asked])
        return [one.id for one in asked]

    async def _held_is(self, tenant: str, units: int) -> None:
        await eventually(
            lambda: self._governance.account(tenant),
            lambda view: view.units_held.get("scan", 0) == units,
            within_s=30,
        )

    async def _group_is_full(self) -> None:
        """Who waits for room in it keeps nobody waiting outside of it."""
        governance = self._governance
        one, other, outside = "full-one", "full-other", "full-outside"
        await governance.set_pool(
            "full",
            {one: Quota(), other: Quota(), outside: Quota()},
            {one: "dep", other: "dep"},
            capacity={"scan": 5},
            groups={"dep": GroupShare(maximum=3)},
            damping=Damping(round_ms=50, min_hold_ms=100),
        )
        holds = await self._jobs_of(one, "full", 4)
        await self._held_is(one, 3)
        waits = await self._jobs_of(other, "full", 1, units=2)
        away = await self._jobs_of(outside, "full", 2)
        await self._held_is(outside, 2)
        await governance.exchange(one, [], holds)
        await self._held_is(other, 2)
        await governance.exchange(other, [], waits)
        await governance.exchange(outside, [], away)
        await self._saved("governor", "full")

    async def _waiter_has_closed(self) -> None:
        """It leaves the line; whose workflow runs, as that of the breaker does, stays there."""
        governance = self._governance
        await governance.set_policy("scanner", POLICY)
        await governance.set_quotas("minded", scan=Quota(max_active=1))
        runs = Holder(workflow_id="headgate/breaker/scanner")
        jobs = [acquire(uuid4().hex, wait_ms=60_000) for _ in range(3)]
        for place in (0, 2):
            jobs[place] = jobs[place].model_copy(update={"holder": runs})
        await governance.exchange("minded", jobs)
        await eventually(
            lambda: governance.account("minded"), lambda view: view.waiting.get("scan") == 1
        )
        await governance.exchange("minded", [], [jobs[0].id])
        await self._held_is("minded", 1)
        await governance.exchange("minded", [], [jobs[2].id])
        await self._saved("ledger", "minded")

    async def _capacities_lie_over_each_other(self) -> None:
        """A shorter one ends, then a cut beneath which the longer one ends, and then that."""
        governance = self._governance
        everybody = dict.fromkeys(("stack-a", "stack-b"), Quota())
        await governance.set_pool(
            "stacked", everybody, capacity={"scan": 1}, strategy=Strategy.EQUAL
        )
        jobs = [acquire(uuid4().hex, wait_ms=60_000) for _ in range(4)]
        await governance.exchange("stack-a", jobs)
        for number, what in enumerate(
            (
                {"action": "set_capacity", "capacity": {"scan": 4}, "for_ms": 3_000},
                {"action": "set_capacity", "capacity": {"scan": 2}, "for_ms": 1_000},
                {"action": "throttle", "share": 0.5, "for_ms": 4_000},
            )
        ):
            told = {"id": f"c{number}", "actor": "ada", "reason": "a drill", **what}
            command = PoolCommand.model_validate(told)
            await governance.governor("stacked").update(
                "command", command, command.id, PoolView, 10
            )
        await eventually(
            lambda: governance.pool("stacked"), lambda view: not view.set_by_people, 15
        )
        await governance.exchange("stack-a", [], [one.id for one in jobs])
        await self._saved("governor", "stacked")

    # Alerts ------------------------------------------------------------------------------------

    async def _tell(self, tenant: str, action: LedgerAction) -> None:
        command = LedgerCommand(id=uuid4().hex, actor="ada", reason="a drill", action=action)
        await self._governance.ledger(tenant).update(
            "command", command, command.id, CommandReply, 10
        )

    async def _people_say_it_twice(self) -> None:
        """An override that is set once more and ends earlier; a resume of what nobody has set."""
        governance = self._governance
        await governance.set_quotas("repeated", scan=SCAN)
        await governance.exchange("repeated", [acquire("first"), acquire("second", wait_ms=60_000)])
        for lasts_ms in (2_000, 500):
            more = QuotaChanges(max_active=2)
            ends_at_ms = now_ms() + lasts_ms
            await self._tell(
                "repeated",
                SetOverride(resource="scan", changes=more, ends_at_ms=ends_at_ms, for_ms=lasts_ms),
            )
        await governance.exchange("repeated", [acquire("third", wait_ms=60_000)])
        await eventually(lambda: governance.account("repeated"), lambda view: not view.overrides)
        releases = ["first", "second"]
        await governance.exchange("repeated", [], releases=releases)
        await governance.set_policy("resumed", POLICY)
        for number, action in enumerate(("resume", "force_open", "resume")):
            command = BreakerCommand.model_validate(
                {"id": f"c{number}", "action": action, "actor": "ada", "reason": "a drill"}
            )
            with suppress(WorkflowUpdateFailedError):  # there is nothing to resume at first
                await governance.breaker("resumed").update(
                    "command", command, command.id, BreakerView, 10
                )
        await self._saved("breaker", "resumed")
        await self._saved("ledger", "repeated")

    async def _people_are_told(self) -> None:
        """Alert rules: levels, a line that does not move, permits left behind; flapping, calm."""
        governance = self._governance
        rules = AlertRules(
            calm_ms=1_000,
            repeat_ms=1_500,
            denied_ms=1_000,
            waiting_ms=1_000,
            reclaimed_every_ms=1_000,
            flapping=Flapping(openings=2, within_ms=60_000, calm_ms=1_000),
        )

        async def ledger_told() -> dict[str, int]:
            return (await governance.account("told")).alerts.open

        async def breaker_told() -> dict[str, int]:
            return (await governance.breaker_state("told")).alerts.open

        quota = Quota(max_active=2, per_day=1_000)
        ledger = LedgerSettings(quotas={"scan": quota}, source="listed", alerts=rules)
        await governance.ledger("told").update("configure", ledger, uuid4().hex, LedgerView, 10)
        policy = POLICY.model_copy(update={"probes": 1})
        breaker = BreakerSettings(policy=policy, source="listed", alerts=rules)
        await governance.breaker("told").update("configure", breaker, uuid4().hex, BreakerView, 10)
        # A governance workflow that runs for ever holds, so nobody takes it for closed.
        holder = Holder(workflow_id="headgate/breaker/told")
        held = [Acquire(id=f"told-{n}", holder=holder, resource="scan") for n in range(2)]
        await governance.exchange("told", held)
        waits = Acquire(
            id="told-waits", holder=holder, resource="scan", wait_until_ms=now_ms() + 60_000
        )
        await governance.exchange("told", [waits])
        await eventually(ledger_told, lambda told: len(told) == 2)
        await governance.exchange("told", [], [one.id for one in (*held, waits)])
        await governance.exchange("told", [acquire("ghost")])
        await eventually(ledger_told, lambda told: not told)
        for number in (1, 3):
            await governance.report("told", number, failures=3)
            view = await governance.until_state("told", BreakerState.HALF_OPEN)
            await governance.lease_probes("told", view.epoch, f"probe-{number}")
            works = [probe(f"probe-{number}", view.epoch)]
            await governance.report("told", number + 1, probes=works)
            await governance.until_state("told", BreakerState.CLOSED)
        await eventually(breaker_told, lambda told: not told)
        await self._saved("ledger", "told")
        await self._saved("breaker", "told")

    async def _breaker_flaps(self) -> None:
        """A breaker that people were told flaps, and that is HALF_OPEN for long without a word."""
        governance = self._governance
        rules = AlertRules(
            half_open_ms=1_000, flapping=Flapping(openings=2, within_ms=60_000, calm_ms=1_000)
        )
        policy = POLICY.model_copy(
            update={"probes": 1, "half_open_max_ms": 3_000, "probe_deadline_ms": 3_000}
        )
        settings = BreakerSettings(policy=policy, source="listed", alerts=rules)
        breaker = governance.breaker("flaps")
        await breaker.update("configure", settings, uuid4().hex, BreakerView, 10)
        await governance.report("flaps", 1, failures=3)
        view = await governance.until_state("flaps", BreakerState.HALF_OPEN)
        await governance.lease_probes("flaps", view.epoch, "probe-1")
        failed = [probe("probe-1", view.epoch, CallOutcome.FAILURE)]
        await governance.report("flaps", 2, probes=failed)
        await governance.until_state("flaps", BreakerState.OPEN)
        view = await governance.until_state("flaps", BreakerState.HALF_OPEN)
        # It is looked at when that is long, too.
        long_ms = view.since_ms + 1_500
        await eventually(lambda: governance.breaker_state("flaps"), lambda _: now_ms() > long_ms)
        await governance.report("flaps", 3, successes=1)
        await governance.until_state("flaps", BreakerState.CLOSED)

        async def told() -> dict[str, int]:
            return (await governance.breaker_state("flaps")).alerts.open

        await eventually(told, lambda found: not found)
        await self._saved("breaker", "flaps")

    # The jobs ----------------------------------------------------------------------------------

    async def _block_is_left_behind(self) -> None:
        """A gate that dies: with nobody waiting for its block, then with somebody."""
        governance = self._governance
        await governance.set_quotas("leased", scan=Quota(max_active=2))
        ledger = governance.ledger("leased")

        async def lease(gate: str) -> None:
            ask = LeaseAsk(resource="scan", number=1, wanted=2, ceiling=0)
            message = Exchange(gate=gate, leases=[ask])
            reply = await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 10)
            assert reply.leases[0].units

        async def held() -> int:
            view = await ledger.query("state", LedgerView, 10)
            return view.units_held.get("scan", 0)

        await lease("g1")
        await eventually(held, lambda units: units == 0, within_s=90)
        await lease("g2")
        waits = acquire(uuid4().hex).model_copy(update={"wait_until_ms": now_ms() + 60_000})
        await governance.exchange("leased", [waits])
        # Its workflow does not exist: it is woken when the block is over, and found to be closed.
        await eventually(held, lambda units: units == 0, within_s=60)
        await self._saved("ledger", "leased")

    async def _jobs(self) -> dict[str, WorkflowHandle[ScanJob, str]]:
        governance, orchestrator = self._governance, self._orchestrator
        found = {}
        granted = ScanJobInput(tenant="acme", downstream="scanner")
        found["granted"] = await self._done(granted)

        orchestrator.scanner.open.clear()
        first = await orchestrator.start(granted)
        await eventually(
            lambda: governance.account("acme"), lambda a: a.units_held.get("scan") == 1
        )
        found["waited"] = await orchestrator.start(granted)
        await eventually(lambda: governance.account("acme"), lambda a: a.waiting.get("scan") == 1)
        denied = ScanJobInput(tenant="acme", downstream="scanner", max_wait_ms=0)
        found["denied"] = await self._done(denied)
        impatient = ScanJobInput(tenant="acme", downstream="scanner", max_wait_ms=20_000)
        found["cancelled"] = await orchestrator.start(impatient)
        await eventually(lambda: governance.account("acme"), lambda a: a.waiting.get("scan") == 2)
        await found["cancelled"].cancel()
        orchestrator.scanner.open.set()
        await first.result()
        await found["waited"].result()

        orchestrator.scanner.broken = True
        for _ in range(3):
            found["failed"] = await self._done(granted)
        await self._tripped()
        orchestrator.scanner.broken = False
        found["breaker-open"] = await self._done(granted)
        for _ in range(POLICY.probes - 1):
            await self._done(granted)
        await governance.until_state("scanner", BreakerState.CLOSED)
        return found

    async def _done(self, job: ScanJobInput) -> WorkflowHandle[ScanJob, str]:
        handle = await self._orchestrator.start(job)
        with suppress(WorkflowFailureError):  # that is how some of them are meant to end
            await handle.result()
        return handle

    # Both --------------------------------------------------------------------------------------

    async def _continue_both(self) -> None:
        """Go on until both have continued as new."""

        async def breaker() -> int:
            await self._report(successes=1)
            return len(await self._runs("breaker", "scanner"))

        async def ledger() -> int:
            await self._governance.exchange("acme", [acquire(uuid4().hex, "unknown")])
            return len(await self._runs("ledger", "acme"))

        await eventually(breaker, lambda runs: runs > 1)
        await eventually(ledger, lambda runs: runs > 1)

    async def _saved(self, kind: Kind, subject: str) -> None:
        governance = self._governance

        async def lag() -> int:
            saved = await governance.database.fetch_value(
                "SELECT revision FROM snapshot WHERE kind = $1 AND subject = $2", kind, subject
            )
            workflow = governing(governance.client, kind, subject)
            view: Any = await workflow.query("state", KINDS[kind].view, 10)
            return int(view.revision - (saved or 0))

        await eventually(lag, lambda behind: behind == 0, within_s=30)

    async def _runs(self, kind: Kind, subject: str) -> list[dict[str, Any]]:
        """The histories of all runs, the oldest first."""
        handle = self._governance.handle(kind, subject)
        run_id = (await handle.describe()).raw_description.workflow_execution_info.first_run_id
        found = []
        while run_id:
            run = self._governance.client.get_workflow_handle(handle.id, run_id=run_id)
            history = await _history(run)
            found.append(history)
            last = history["events"][-1].get("workflowExecutionContinuedAsNewEventAttributes", {})
            run_id = last.get("newExecutionRunId", "")
        return found


async def _history(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await handle.fetch_history()).to_json())
    return found


def anonymous(value: Any, key: str = "") -> Any:
    """Return a history without the name of this machine, also inside of payloads.

    The same name becomes the same word everywhere, so the history replays as before.
    """
    if isinstance(value, dict):
        return {name: anonymous(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [anonymous(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if key == "identity":
        return "worker"
    if key == "stackTrace":
        return ""
    if key == "data":
        return base64.b64encode(_anonymous_bytes(base64.b64decode(value))).decode()
    return _anonymous_bytes(value.encode()).decode()


def _anonymous_bytes(text: bytes) -> bytes:
    host, pid = socket.gethostname(), os.getpid()
    text = text.replace(f"{host[:60]}-{pid}-".encode(), b"gate-")  # ids of gates
    return text.replace(f"{pid}@{host}".encode(), b"worker")  # identities, names of sticky queues


@asynccontextmanager
async def recorder(folder: Path) -> AsyncIterator[Recorder]:
    """Run all that the scenario needs."""
    options = EntityOptions(
        continue_after_events=150, snapshot_every_ms=100, check_holders_every_ms=300
    )
    async with (
        Stack(folder, temporal_ui=False, temporal_args=PROMPT) as stack,
        Database(stack.dsn) as database,
    ):
        await migrate(database)
        quotas = {"scan": {"max_active": 1}}
        await apply(database, {"scanner": {}}, {"acme": {"quotas": quotas}})
        client = await Client.connect(
            stack.temporal_address, data_converter=pydantic_data_converter
        )
        governance = Governance(client, database, "headgate", options)
        orchestrator = Orchestrator(stack.temporal_address, "headgate", options)
        async with governance.running(), orchestrator.running():
            yield Recorder(stack, governance, orchestrator)


async def record(to: Path) -> None:
    """Write every history that is not there yet."""
    with tempfile.TemporaryDirectory(prefix="headgate-record-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # Postgres runs as another user when this runs as root
        async with recorder(path / "stack") as playing:
            histories = await playing.play()
    to.mkdir(parents=True, exist_ok=True)
    for what, history in sorted(histories.items()):
        file = to / f"{__version__}-{what}.json"
        if file.exists():
            sys.stdout.write(f"kept     {file.name}\n")
            continue
        text = json.dumps(anonymous(history), separators=(",", ":"))
        file.write_text(text + "\n")
        events = len(history["events"])
        sys.stdout.write(f"recorded {file.name}: {events} events, {len(text) // 1024} KB\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, default=HISTORIES, help="the folder to write to")
    sys.exit(asyncio.run(record(parser.parse_args().to)))
