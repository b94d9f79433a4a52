"""The ledger of one tenant: who holds what, who waits, and what may be granted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from headgate.alerts.desk import Desk
from headgate.model.audit import AuditEntry
from headgate.model.entity import changed_since
from headgate.model.lease import LeaseAsk, LeaseGrant
from headgate.model.ledger import (
    Acquire,
    CommandReply,
    Decision,
    Exchange,
    ExchangeReply,
    Grant,
    Hello,
    LedgerCommand,
    LedgerPage,
    LedgerView,
    Outcome,
    Outlook,
    ReleasePermit,
    Turn,
    WhyView,
)
from headgate.model.pool import Allocation, Demand
from headgate.model.reason import Reason, ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import demand, operator, workers
from headgate.quota.book import Book
from headgate.quota.deadlines import Deadlines
from headgate.quota.decide import rescale
from headgate.quota.lease_record import idle_units
from headgate.quota.leases import Leases
from headgate.quota.limits import borrows
from headgate.quota.meters import watch_usage
from headgate.quota.past import MAX_DENIALS_KEPT, active_gates, fingerprint, is_repeat
from headgate.quota.queues import Queues
from headgate.quota.reasons import Inquiry, over
from headgate.quota.record import (
    LedgerRecord,
    Permit,
    PoolAccount,
    Waiter,
    take_old_memory,
    take_settings,
)
from headgate.quota.shedding import to_turn_away, why_turned_away
from headgate.quota.standing import Standing
from headgate.quota.turns import Turns
from headgate.quota.views import ledger_view, permit_view, waiter_view, why_view
from headgate.quota.waiting import WaiterChecks
from headgate.quota.watch import Watch
from headgate.quota.ways import Ways

REVISIONS_PER_INCARNATION: Final = 1_000_000_000
MAX_PAGE: Final = 500


class PageCounts(NamedTuple):
    """How many there are of what a page shows."""

    permits: int
    waiters: int
    leases: int


class Ledger:
    """The account of one tenant: every decision a function of its record, a message and time.

    Times are Unix milliseconds. Messages have been validated by their types; a repeat of one is
    answered as it was the first time.

    Attributes:
        record: All it remembers; may be stored at any time between two calls.

    Args:
        record: Its own.
        check_every_ms: How soon after a grant, and then how often, a holder is looked after.
        ways: How it goes on, today's way unless said; may be changed between two calls.
    """

    def __init__(
        self, record: LedgerRecord, check_every_ms: int = 60_000, ways: Ways | None = None
    ) -> None:
        take_old_memory(record)
        self.record = record
        self.ways = ways = ways or Ways()
        self._queues = Queues(record.waiters.items())
        self._patience = Deadlines(
            lambda id, at: id in record.waiters and record.waiters[id].until_ms == at
        )
        for id, waiter in record.waiters.items():
            self._patience.add(id, waiter.until_ms)
        self._waiter_checks = WaiterChecks(record, check_every_ms)
        self._now_ms = record.settled_at_ms
        self._refused = {name for name, meter in record.meters.items() if meter.refused}
        self._standing = Standing(record, ways)
        self._turns = Turns(record.gates, record.places)
        self._inquired: Inquiry | None = None
        self._watch = Watch(record, self._standing, self._queues, self._inquiry, ways)
        self._book = Book(record, self._standing, self._queues, self._watch, check_every_ms)
        self._leases = Leases(record, self._standing, self._queues, self._book, self._watch, ways)
        self._demand = demand.Reckoning(
            record,
            self._queues,
            self._leases.unmet,
            self._standing.of,
            ways,
        )
        self._demand.renew(self._now_ms)
        self._due = False
        self._look_at_demand()

    @classmethod
    def begin(
        cls,
        tenant: str,
        settings: LedgerSettings,
        incarnation: int,
        check_every_ms: int = 60_000,
        ways: Ways | None = None,
    ) -> "Ledger":
        """Return a ledger without a past."""
        record = LedgerRecord(
            tenant=tenant,
            quotas=None,
            quota_source="none",
            revision=incarnation * REVISIONS_PER_INCARNATION,
            incarnation=incarnation,
        )
        take_settings(record, settings)
        return cls(record, check_every_ms, ways)

    @classmethod
    def restore(
        cls,
        record: LedgerRecord,
        incarnation: int,
        now_ms: int,
        check_every_ms: int = 60_000,
        ways: Ways | None = None,
    ) -> "Ledger":
        """Go on from a saved record, above every revision there may have been.

        What was held is still held, so nothing is granted twice; every holder is looked after at
        once, because much may have ended since the snapshot. Nothing is granted yet: the quotas of
        the snapshot may be outdated, so ``configure`` comes first. What pools gave may be
        outdated as well, so of these nothing is granted until their governors have spoken.
        """
        record.incarnation = incarnation
        record.revision = incarnation * REVISIONS_PER_INCARNATION
        for permit in record.permits.values():
            permit.check_at_ms = now_ms
        for account in record.accounts.values():
            # The last allocation may be sent again, to this incarnation; an older one is not taken.
            account.allocation = None
            account.sequence = max(0, account.sequence - 1)
        ledger = cls(record, check_every_ms, ways)
        ledger._leases.check_again(now_ms)
        return ledger

    # What comes in ---------------------------------------------------------------------------

    def hello(self, hello: Hello, now_ms: int) -> None:
        """Take note of a gate that is going to exchange, or that leaves."""
        if hello.leaves:
            self._turns.goodbye(hello.gate)
        else:
            self._turns.hello(hello.gate, now_ms)

    def turn(self, gate: str, now_ms: int) -> Turn:
        """Return when a gate may exchange."""
        return self._turns.of(gate, active_gates(self.record.gates, now_ms), now_ms)

    def exchange(self, message: Exchange, now_ms: int) -> ExchangeReply:
        """Do the releases, then answer the acquires in their order."""
        self._advance(now_ms)
        for id in message.releases:
            self._release(id, now_ms)
        gates, number = self.record.gates, message.number
        grants = [self._lease(message.gate, ask, now_ms) for ask in message.leases]
        repeat = number is not None and is_repeat(gates, message.gate, number, now_ms)
        if number is not None:
            workers.note(gates[message.gate], message.slots)
        answer = self._answer_again if repeat else self._acquire
        decisions = [answer(request, now_ms) for request in message.acquires]
        self._conclude(now_ms)
        active = active_gates(gates, now_ms)
        return ExchangeReply(
            decisions=decisions,
            revision=self.record.revision,
            leases=grants,
            gates=active,
            turn=self._turns.next(message.gate, active, message.took_ms, now_ms),
            now_ms=now_ms,
            leased=sorted(
                {one.resource for one in message.acquires if self._is_leased(one.resource)}
            ),
        )

    def _lease(self, gate: str, ask: LeaseAsk, now_ms: int) -> LeaseGrant:
        grant = self._leases.answer(gate, ask, self._inquiry(now_ms), now_ms)
        self._serve([ask.resource], now_ms)
        return grant

    def _is_leased(self, resource: str) -> bool:
        limits = self._standing.of(resource)
        return limits is not None and limits.leased

    def release(self, id: str, now_ms: int) -> None:
        """Take back a permit, or forget a request that waits or has yet to come."""
        self._advance(now_ms)
        self._release(id, now_ms)
        self._conclude(now_ms)

    def reclaim(self, id: str, now_ms: int) -> None:
        """Take back what one that has closed holds, or its place in line; else change nothing."""
        self._advance(now_ms)
        self._leases.close(id)
        if id in self.record.permits:
            self._serve(self._book.end(id, "reclaimed", now_ms), now_ms)
        elif id in self.record.waiters:
            self._release(id, now_ms)
        self._conclude(now_ms)

    def runs(self, id: str, now_ms: int) -> None:
        """Take in that a holder certainly runs: its permit goes on if it has come to its end."""
        self._advance(now_ms)
        permit = self.record.permits.get(id)
        if permit is not None and permit.is_asked_for:
            self._book.go_on(id, now_ms)
        self._conclude(now_ms)

    def configure(self, settings: LedgerSettings, now_ms: int) -> None:
        """Take new quotas; what is held and what was spent stays so."""
        self._lapse(now_ms)
        self._catch_up(now_ms)
        before = {*self.record.pools.values()}
        if self.ways.notes_left:
            self._note_left(settings.pools)
        take_settings(self.record, settings)
        for pool in {*self.record.pools.values()} - before:
            account = self.record.accounts.get(pool)
            if account is not None and account.gives and self.ways.hears_anew:
                account.allocation = None  # the governor has given it to others since
        self._settle(now_ms)
        self.record.told_revision = self.record.revision
        self.advance(now_ms)

    def allocate(self, message: Allocation, now_ms: int) -> None:
        """Take what a pool gives; old news and what is for another incarnation changes nothing.

        It is kept also for a pool that the settings do not name: some may be held of it. To hold
        more than a new allocation is normal: nothing is taken back, nothing granted until enough
        has come back. Those who wait for more than the tenant may ever borrow are let go once the
        governor says that its pool goes by guarantees, and those who wait for more than it could
        ever hold once the governor says how much that is.
        """
        record = self.record
        self._advance(now_ms)
        account = record.accounts.get(message.pool, PoolAccount())
        if message.incarnation in (0, record.incarnation) and message.sequence > account.sequence:
            record.accounts[message.pool] = account
            before = account.allocation
            known = {} if before is None else before.at_most
            account.allocation, account.sequence = message, message.sequence
            record.revision += 1
            resources = sorted(name for name, pool in record.pools.items() if pool == message.pool)
            self._standing.allocate(resources, message)
            self._inquired = None
            may_borrow = borrows(message) and not borrows(before) and not self.ways.as_before
            is_first = before is None and self.ways.hears_anew
            if is_first or may_borrow or message.at_most not in ({}, known):
                self._refuse_hopeless(now_ms, message.pool if is_first else None)
            self._serve(resources, now_ms)
            self._shed(resources, now_ms)
        self._conclude(now_ms)

    def sets_again(self, command: LedgerCommand, now_ms: int) -> bool:
        """Return whether an operator sets what that operator has set already; see ``operate``."""
        return operator.repeated(self.record, command, now_ms) is not None

    def operate(self, command: LedgerCommand, now_ms: int, *, stacks: bool = False) -> CommandReply:
        """Do what an operator says; the same id gets the same answer.

        Args:
            command: The operator's.
            now_ms: Unix time.
            stacks: An override that says what one that stands says does not take its place, so that
                runs replay as they were that began before the patch ``headgate-one-override``.
        """
        record = self.record
        self.advance(now_ms)
        if not command.dry_run and (known := record.commands.get(command.id)) is not None:
            return known
        why = changed_since(command.if_revision, record.told_revision, record.revision)
        if why is not None:
            return operator.refuse(command, "changed_since", why).model_copy(
                update={"revision": record.revision}
            )
        as_before = self.ways.as_before
        idle = idle_units(record.leases.values()) if self.ways.sees_idle else {}
        replaced = None if stacks else operator.repeated(record, command, now_ms)
        reply = operator.answer(
            record, command, now_ms, idle, as_before=as_before, replaced=replaced
        )
        if reply.accepted:
            said = reply.message + operator.of_unlisted(record, command)
            reply = reply.model_copy(update={"message": said})
        if command.dry_run:
            return reply.model_copy(update={"revision": record.revision})
        if reply.accepted:
            operator.apply(record, command, reply, now_ms, replaced)
            if isinstance(command.action, ReleasePermit):
                self._take_back(command.action.permit, command, now_ms)
            else:
                self._settle(now_ms)
        record.revision += 1
        if reply.accepted:
            record.told_revision = record.revision
        self.advance(now_ms)
        reply = reply.model_copy(update={"revision": record.revision})
        operator.remember(record, reply)
        return reply

    def _take_back(self, id: str, command: LedgerCommand, now_ms: int) -> None:
        waiter = self.record.waiters.get(id)
        self._release(id, now_ms)
        if waiter is not None:
            reason = Reason(
                code=ReasonCode.TAKEN_OUT,
                message=f"{command.actor} took it out of the line: {command.reason}",
            )
            decision = Decision(id=id, outcome=Outcome.DENIED, reason=reason)
            self.record.turned_away[id] = waiter.turned_away(decision)

    def advance(self, now_ms: int) -> None:
        """Let time do what it does: end patience, permits, overrides; refill rates and windows."""
        self._advance(now_ms)
        self._conclude(now_ms)

    def holders_to_check(self, now_ms: int, at_most: int) -> list[tuple[str, str, str]]:
        """Return (permit, workflow, run) of those who are due to be looked after.

        Each is due again after twice the time for which it has held its permit, or waited for it,
        so what lasts for hours costs little.
        """
        found = self._book.holders_to_check(now_ms, at_most)
        found += self._leases.jobs_to_check(now_ms, at_most - len(found))
        return found + self._waiter_checks.due(now_ms, at_most - len(found))

    def woken(self, id: str) -> None:
        """Note that who asked for ``id`` has been told of its grant, or that it is turned away."""
        self.record.wakes.pop(id, None)
        self.record.turned_away.pop(id, None)

    def demands_sent(self, demands: Iterable[Demand]) -> None:
        """Note what the governors have been told."""
        sent = list(demands)
        for one in sent:
            account = self.record.accounts.setdefault(one.pool, PoolAccount())
            account.told = one
            account.lower_since_ms = None
            for resource, claim in one.claims.items():
                # What was composed before it left says how much was held then.
                if resource in account.left and claim.share.maximum == 0:
                    account.left[resource] = min(account.left[resource], claim.held)
        self._look_at_demand(sent)

    def audited(self, entries: Sequence[AuditEntry]) -> None:
        """Forget changes made by people that are saved."""
        saved = list(entries)
        for entry in saved:
            if entry in self.record.audit:
                self.record.audit.remove(entry)

    # What can be asked -----------------------------------------------------------------------

    @property
    def desk(self) -> Desk:
        """Where alerts go out from."""
        return self._watch.desk

    def next_deadline(self) -> int | None:
        """Return when ``advance`` next has something to do, or None."""
        found = [
            self._book.expiries.next(),
            self._patience.next(),
            self._standing.change_at_ms,
            self._leases.next_deadline(),
            self._workers_forgotten_at(),
            self._watch.next_deadline(),
        ]
        if self._refused:
            meters = self.record.meters
            found += [
                refused.until_ms
                for name in self._refused
                if (refused := meters[name].refused) is not None
            ]
        waited_for = self._queues.resources()
        if self._standing.reservation_at_ms is not None and (
            waited_for or demand.is_governed(self.record)
        ):
            # Else nobody would notice, and an idle ledger is to sleep.
            found.append(self._standing.reservation_at_ms)
        for resource in waited_for:
            head = self._queues.head(resource)
            assert head is not None
            waiter = self.record.waiters[head]
            # Each waiter once; and only as the first of all its lines.
            if waiter.resource == resource and self._queues.is_next(head, waiter):
                found.append(self._book.opens_at(waiter.needs))
                found.append(self._demand.wanted_from(waiter.needs))
        return min((at for at in found if at is not None), default=None)

    def next_check(self) -> int | None:
        """Return when somebody next has to be looked after, or None."""
        times = (self._book.checks.next(), self._leases.next_check(), self._waiter_checks.next())
        return min((at for at in times if at), default=None)

    def grant_of(self, id: str) -> tuple[Permit, Grant]:
        """Return a held permit and the message that tells its holder."""
        permit = self.record.permits[id]
        return permit, Grant(id=id, expires_at_ms=permit.expires_at_ms)

    def demands(self) -> list[Demand]:
        """Return what the governor of each pool is to know; see ``Reckoning``."""
        return self._demand.demands()

    def demands_due(self) -> bool:
        """Return whether a governor has to be told something at once."""
        return self._due

    def demands_due_at_ms(self) -> int | None:
        """Return when a governor has to be told at the latest that less is wanted, or None."""
        lower: int | None = None
        for account in self.record.accounts.values():
            since_ms = account.lower_since_ms
            if since_ms is not None and (lower is None or since_ms < lower):
                lower = since_ms
        return None if lower is None else lower + demand.TELL_LOWER_AFTER_MS

    def below_usage(self, settings: LedgerSettings) -> list[str]:
        """Return a sentence for each limit that ``settings`` would lower below what is used.

        Overrides and reservations count as they are now; throttles and pools do not.
        """
        return operator.lowered_below_usage(self.record, settings, self._now_ms)

    def held(self, ids: Iterable[str]) -> list[str]:
        """Return which of these permits are held, out of a block or by themselves."""
        return [id for id in ids if id in self.record.permits or self._leases.has(id)]

    def outlook(self, needs: Iterable[Mapping[str, int]], now_ms: int) -> list[Outlook]:
        """Return what keeps requests away that a breaker keeps away, whatever that does."""
        inquiry = self._inquiry_at(now_ms)
        return [inquiry.outlook([*one.items()]) for one in needs]

    def why(self, id: str, now_ms: int) -> WhyView | None:
        """Return why a request waits, or that it is held; None when it does neither."""
        return why_view(id, self._inquiry_at(now_ms))

    def why_workflow(self, workflow_id: str, now_ms: int) -> list[WhyView]:
        """Return the same of all that a workflow holds and waits for."""
        inquiry, record = self._inquiry_at(now_ms), self.record
        ids = [id for id, permit in record.permits.items() if permit.workflow_id == workflow_id]
        ids += [id for id, waiter in record.waiters.items() if waiter.workflow_id == workflow_id]
        return [view for id in ids if (view := why_view(id, inquiry)) is not None]

    def view(self) -> LedgerView:
        """Return the ledger as people see it."""
        return ledger_view(self.record, self._queues, self._standing.of, self.desk.view())

    def counts(self) -> PageCounts:
        """Return how many permits, waiters and blocks ``page`` has to show."""
        return PageCounts(
            len(self.record.permits), len(self.record.waiters), len(self._leases.views())
        )

    def page(self, start: int = 0, most: int = MAX_PAGE) -> LedgerPage:
        """Return the ledger with some of its permits, waiters and blocks: at most so many of each.

        Args:
            start: Leave out so many of each.
            most: Not more than these.
        """
        record, end = self.record, start + most
        return LedgerPage(
            ledger=self.view(),
            permits=[
                permit_view(id, permit) for id, permit in list(record.permits.items())[start:end]
            ],
            waiters=[
                waiter_view(id, record, self._queues)
                for id in list(self._queues.in_order())[start:end]
            ],
            leases=self._leases.views()[start:end],
        )

    def check_conservation(self) -> None:
        """Assert that every permit is accounted for; called after every step in production too."""
        self._book.check_conservation()

    # Time ------------------------------------------------------------------------------------

    def _advance(self, now_ms: int) -> None:
        # Patience first: what an expired permit frees is not for those who have given up.
        self._now_ms = now_ms
        self._lapse(now_ms)
        self._catch_up(now_ms)
        for id in self._book.expiries.due(now_ms):
            if not (self.ways.asks_first and self._book.ask_first(id, now_ms)):
                self._book.end(id, "expired", now_ms)
        self._leases.lapse(now_ms)
        for resource in sorted(self._refused):
            meter = self.record.meters[resource]
            if meter.refused is None or meter.refused.until_ms <= now_ms:
                meter.refused = None
                self._refused.discard(resource)
        self._serve(self._queues.resources(), now_ms)

    def _lapse(self, now_ms: int) -> None:
        """Let those go who are no longer willing to wait."""
        for id in self._patience.due(now_ms):
            self._queues.remove(id, self.record.waiters.pop(id))
            self._book.remember(id, "expired", now_ms)
            self.record.revision += 1

    def _catch_up(self, now_ms: int) -> None:
        """Let overrides, throttles and reservations begin and end, each at its own time."""
        while (at_ms := self._standing.change_at_ms) is not None and at_ms <= now_ms:
            self._settle(at_ms)
        if (at_ms := self._standing.reservation_at_ms) is not None and at_ms <= now_ms:
            # Reservations do not touch rates, so those that were slept through do not matter.
            self._settle(now_ms)

    def _settle(self, at_ms: int) -> None:
        """Look anew at what limits each resource, and let go of those who can no longer fit."""
        record = self.record
        record.settled_at_ms = at_ms
        record.revision += 1
        operator.expire(record, at_ms)
        self._standing.renew()
        self._inquired = None
        for resource, meter in sorted(record.meters.items()):
            limits = self._standing.of(resource)
            if limits is not None:
                rescale(limits, meter, at_ms)
                watch_usage(record, resource, limits, meter, at_ms)
        self._watch.settled()
        self._refuse_hopeless(at_ms)

    def _note_left(self, pools: Mapping[str, str]) -> None:
        """Note what is held of what leaves its pool; it counts there until it is back."""
        record = self.record
        for resource, pool in record.pools.items():
            account, meter = record.accounts.get(pool), record.meters.get(resource)
            if pools.get(resource) != pool and account is not None:
                account.left[resource] = 0 if meter is None else meter.units
        for resource, pool in pools.items():
            if (account := record.accounts.get(pool)) is not None:
                account.left.pop(resource, None)

    def _refuse_hopeless(self, now_ms: int, first_heard: str | None = None) -> None:
        """Let go of waiters that the quotas, or what pools have, can never serve.

        Args:
            now_ms: Unix time.
            first_heard: The pool of which it is known only now how much there is.
        """
        record = self.record
        inquiry = self._inquiry(now_ms)
        for id in list(self._queues.in_order()):
            waiter = record.waiters[id]
            knew = first_heard is None or all(
                record.pools.get(resource) != first_heard for resource, _ in waiter.needs
            )
            reason = inquiry.never(waiter.needs, in_line=knew)
            if reason is not None:
                self._queues.remove(id, record.waiters.pop(id))
                decision = Decision(id=id, outcome=Outcome.DENIED, reason=reason)
                self._remember_denial(decision, waiter.resource)
                record.turned_away[id] = waiter.turned_away(decision)

    # Deciding --------------------------------------------------------------------------------

    def _release(self, id: str, now_ms: int) -> None:
        record = self.record
        # The gates whose blocks it came out of are told when they next ask.
        self._leases.close(id)
        if id in record.permits:
            self._serve(self._book.end(id, "released", now_ms), now_ms)
        elif (waiter := record.waiters.pop(id, None)) is not None:
            self._queues.remove(id, waiter)
            self._book.remember(id, "released", now_ms)
            record.revision += 1
            self._serve([resource for resource, _ in waiter.needs], now_ms)
        elif record.ended.get(fingerprint(id)) is None:
            # A request may still be on its way, and a gate may not have spoken of it yet. When
            # they do, nobody wants it.
            self._book.remember(id, "released", now_ms)
            record.revision += 1

    def _acquire(self, request: Acquire, now_ms: int) -> Decision:
        record = self.record
        if (known := self._known_answer(request.id, now_ms)) is not None:
            return known
        until_ms = request.wait_until_ms
        waiter = Waiter(
            resource=request.resource,
            units=request.units,
            workflow_id=request.holder.workflow_id,
            run_id=request.holder.run_id,
            priority=request.priority,
            order=record.arrivals,
            since_ms=now_ms,
            until_ms=now_ms if until_ms is None else until_ms,
            also=dict(request.also),
            namespace=request.holder.namespace,
        )
        inquiry = self._inquiry(now_ms)
        refusal = inquiry.never(waiter.needs)
        if refusal is not None:
            return self._deny(request, refusal, None)
        # Everybody takes a place in the line first, so a newcomer never passes those who wait.
        record.arrivals += 1
        record.waiters[request.id] = waiter
        self._queues.add(request.id, waiter)
        self._serve([resource for resource, _ in waiter.needs], now_ms, told=request.id)
        if request.id in record.permits:
            return self._granted(request.id)
        finding = inquiry.why(request.id)
        reason, estimate = finding.reason, finding.retry_at_ms
        if until_ms is None or until_ms <= now_ms:
            self._queues.remove(request.id, record.waiters.pop(request.id))
            if reason.code is ReasonCode.POOL_USED_UP:
                for resource, units in waiter.needs:
                    if resource in finding.pool_lacks:
                        demand.note_refusal(self._book.meter(resource, now_ms), units, now_ms)
                        self._refused.add(resource)
            return self._deny(request, reason, estimate)
        shed = self._shed([resource for resource, _ in waiter.needs], now_ms, told=request.id)
        if shed is not None:
            record.revision += 1
            return shed
        self._patience.add(request.id, until_ms)
        if self.ways.minds_waiters:
            self._waiter_checks.add(request.id, now_ms)
        record.revision += 1
        return Decision(id=request.id, outcome=Outcome.WAITING, retry_at_ms=estimate, reason=reason)

    def _answer_again(self, request: Acquire, now_ms: int) -> Decision:
        """Answer a request whose gate has gone on since it was sent: nobody waits for a grant."""
        if (known := self._known_answer(request.id, now_ms)) is not None:
            return known
        reason = Reason(
            code=ReasonCode.WAITED_TOO_LONG,
            message="this request came again after its gate had gone on",
        )
        return Decision(id=request.id, outcome=Outcome.DENIED, reason=reason)

    def _known_answer(self, id: str, now_ms: int) -> Decision | None:
        record = self.record
        if id in record.permits:
            self.woken(id)
            return self._granted(id)
        if id in record.waiters:
            finding = self._inquiry(now_ms).why(id)
            return Decision(
                id=id,
                outcome=Outcome.WAITING,
                retry_at_ms=finding.retry_at_ms,
                reason=finding.reason,
            )
        if (ended := record.ended.get(fingerprint(id))) is not None:
            return Decision(id=id, outcome=Outcome.DENIED, reason=over(ended))
        return record.denied.get(id)

    def _serve(self, resources: Iterable[str], now_ms: int, told: str | None = None) -> None:
        """Grant to those next in line as long as there is room, in order, nobody skipped.

        Args:
            resources: Whose lines; those of all that a grant concerns are looked at, too.
            now_ms: Unix time.
            told: The request that is being answered right now, and needs no waking.
        """
        record, queues = self.record, self._queues
        lines = list(resources)
        while lines:
            resource = lines.pop()
            while (id := queues.head(resource)) is not None:
                waiter = record.waiters[id]
                needs = waiter.needs
                if len(needs) > 1 and not queues.is_next(id, waiter):
                    break
                if not self._book.admits(needs, now_ms):
                    break
                del record.waiters[id]
                queues.remove(id, waiter)
                self._book.grant(id, waiter, needs, now_ms)
                if id != told:
                    record.wakes[id] = now_ms
                if len(needs) > 1:
                    # Whoever stood behind it in its other lines may be the first of them now.
                    lines += [other for other, _ in needs if other != resource]

    def _shed(
        self, resources: Iterable[str], now_ms: int, told: str | None = None
    ) -> Decision | None:
        """Turn those away who may not wait while their pool is under pressure.

        Args:
            resources: Whose lines.
            now_ms: Unix time.
            told: The request that is being answered right now.

        Returns:
            The answer to that request, if it is turned away.
        """
        record, answer = self.record, None
        for resource in resources:
            limits = self._standing.of(resource)
            freed: set[str] = set()
            for id in to_turn_away(record, self._queues, resource, limits):
                assert limits is not None
                waiter = record.waiters.pop(id)
                self._queues.remove(id, waiter)
                units = dict(waiter.needs)[resource]
                reason, after_ms = why_turned_away(record, resource, units, waiter.priority, limits)
                decision = Decision(
                    id=id, outcome=Outcome.DENIED, retry_at_ms=now_ms + after_ms, reason=reason
                )
                self._remember_denial(decision, waiter.resource)
                if id == told:
                    answer = decision
                else:
                    record.turned_away[id] = waiter.turned_away(decision)
                record.revision += 1
                freed.update(other for other, _ in waiter.needs)
            self._serve(sorted(freed), now_ms)
        return answer

    def _deny(self, request: Acquire, reason: Reason, retry_at_ms: int | None) -> Decision:
        decision = Decision(
            id=request.id, outcome=Outcome.DENIED, retry_at_ms=retry_at_ms, reason=reason
        )
        self._remember_denial(decision, request.resource)
        self.record.revision += 1
        return decision

    def _granted(self, id: str) -> Decision:
        return Decision(
            id=id, outcome=Outcome.GRANTED, expires_at_ms=self.record.permits[id].expires_at_ms
        )

    def _remember_denial(self, decision: Decision, resource: str) -> None:
        if self._standing.of(resource) is not None:
            self._book.meter(resource, self._now_ms).denied += 1
            self._watch.denied(resource, decision)
        self.record.denied.put(decision.id, decision, self._now_ms, MAX_DENIALS_KEPT)

    # Looking ---------------------------------------------------------------------------------

    def _conclude(self, now_ms: int) -> None:
        """End a step: tell people and governors what it means for them."""
        self._watch.look(now_ms)
        self._demand.renew(self._now_ms)
        self._look_at_demand()

    def _workers_forgotten_at(self) -> int | None:
        """Return when a governor may have to be told that workers are not known any more."""
        accounts = self.record.accounts.values()
        told = (account.told.slots for account in accounts if account.told is not None)
        if not any(map(workers.is_noteworthy, told)):
            return None
        return workers.forgotten_at(self.record.gates, self._now_ms)

    def _inquiry(self, now_ms: int) -> Inquiry:
        if self._inquired is not None and self._inquired.now_ms == now_ms:
            return self._inquired
        self._inquired = Inquiry(
            self.record,
            self._queues,
            self._standing.of,
            self._book.held_for_ms,
            self._standing.next_ms,
            now_ms,
        )
        return self._inquired

    def _inquiry_at(self, now_ms: int) -> Inquiry:
        """Return an inquiry for a query, which may come before time has been looked at."""
        inquiry = self._inquiry(now_ms)
        if inquiry.changes_at_ms is None or now_ms < inquiry.changes_at_ms:
            return inquiry
        return replace(inquiry, limits_of=lambda resource: self._standing.at(resource, now_ms))

    def _look_at_demand(self, sent: Sequence[Demand] | None = None) -> None:
        if not self.record.pools and not self.record.accounts:
            self._due = False  # also when the pool that was to be told is gone
            return
        self._due = self._demand.look() if sent is None else self._demand.look_again(sent)
