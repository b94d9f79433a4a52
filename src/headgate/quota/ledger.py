"""The ledger of one tenant: who holds what, who waits, and what may be granted."""

from typing import Final

from headgate.alerts.outbox import put
from headgate.model.alert import Alert
from headgate.model.ids import DEFAULT
from headgate.model.ledger import (
    Account,
    Acquire,
    Decision,
    Exchange,
    ExchangeReply,
    Grant,
    LedgerPage,
    LedgerView,
    Outcome,
    PermitView,
    Resolution,
    WaiterView,
)
from headgate.model.quota import Quota
from headgate.model.reason import Reason, ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import gcra
from headgate.quota.deadlines import Deadlines
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord, Meter, Permit, Waiter

REVISIONS_PER_INCARNATION: Final = 1_000_000_000
MAX_RESOLVED_KEPT: Final = 5_000
"""Resolved permits that are remembered, so that a repeat is not granted again: what ten gates may
send in one exchange each."""

MAX_DENIALS_KEPT: Final = 500
"""Denials that are remembered, so that a repeat gets the same answer."""

HOLD_GUESS_MS: Final = 1_000
"""How long a permit is held, for estimates, as long as none has come back."""

MAX_PAGE: Final = 500


class Ledger:
    """The account of one tenant: every decision a function of its record, a message and time.

    Times are Unix milliseconds. Messages have been validated by their types; a repeat of one is
    answered as it was the first time.

    Attributes:
        record: All it remembers; may be stored at any time between two calls.
        check_every_ms: How soon after a grant, and then how often, a holder is looked after.
    """

    def __init__(self, record: LedgerRecord, check_every_ms: int = 60_000) -> None:
        self.record = record
        self.check_every_ms = check_every_ms
        self._queues = Queues(record.waiters.items())
        self._expiries = Deadlines(
            lambda id, at: id in record.permits and record.permits[id].expires_at_ms == at
        )
        self._checks = Deadlines(
            lambda id, at: id in record.permits and record.permits[id].check_at_ms == at
        )
        self._patience = Deadlines(
            lambda id, at: id in record.waiters and record.waiters[id].until_ms == at
        )
        for id, permit in record.permits.items():
            self._expiries.add(id, permit.expires_at_ms)
            self._checks.add(id, permit.check_at_ms)
        for id, waiter in record.waiters.items():
            self._patience.add(id, waiter.until_ms)

    @classmethod
    def begin(
        cls, tenant: str, settings: LedgerSettings, incarnation: int, check_every_ms: int = 60_000
    ) -> "Ledger":
        """Return a ledger without a past."""
        return cls(
            LedgerRecord(
                tenant=tenant,
                quotas=dict(settings.quotas) if settings.quotas is not None else None,
                quota_source=settings.source,
                revision=incarnation * REVISIONS_PER_INCARNATION,
                incarnation=incarnation,
            ),
            check_every_ms,
        )

    @classmethod
    def restore(
        cls, record: LedgerRecord, incarnation: int, now_ms: int, check_every_ms: int = 60_000
    ) -> "Ledger":
        """Go on from a saved record, above every revision there may have been.

        What was held is still held, so nothing is granted twice; every holder is looked after at
        once, because much may have ended since the snapshot. Nothing is granted yet: the quotas of
        the snapshot may be outdated, so ``configure`` comes first.
        """
        record.incarnation = incarnation
        record.revision = incarnation * REVISIONS_PER_INCARNATION
        for permit in record.permits.values():
            permit.check_at_ms = now_ms
        return cls(record, check_every_ms)

    # What comes in ---------------------------------------------------------------------------

    def exchange(self, message: Exchange, now_ms: int) -> ExchangeReply:
        """Do the releases, then answer the acquires in their order."""
        self.advance(now_ms)
        for id in message.releases:
            self._release(id, now_ms)
        decisions = [self._acquire(request, now_ms) for request in message.acquires]
        return ExchangeReply(decisions=decisions, revision=self.record.revision)

    def release(self, id: str, now_ms: int) -> None:
        """Take back a permit, or forget a request that waits or has yet to come."""
        self.advance(now_ms)
        self._release(id, now_ms)

    def reclaim(self, id: str, now_ms: int) -> None:
        """Take back a permit whose holder has closed; one that is not held changes nothing."""
        self.advance(now_ms)
        if id in self.record.permits:
            self._resolve(id, "reclaimed", now_ms)

    def configure(self, settings: LedgerSettings, now_ms: int) -> None:
        """Take new quotas; what is held and what was spent stays so."""
        record = self.record
        before = {resource: self._quota(resource) for resource in record.meters}
        record.quotas = dict(settings.quotas) if settings.quotas is not None else None
        record.quota_source = settings.source
        record.revision += 1
        for resource, meter in sorted(record.meters.items()):
            old, new = before[resource], self._quota(resource)
            old_rate = old.rate if old else None
            new_rate = new.rate if new else None
            if old_rate is None or new_rate is None:
                meter.tat = 0
            elif old_rate != new_rate:
                meter.tat = gcra.rescale(meter.tat, old_rate, new_rate, now_ms)
            if new is not None:
                self._watch_usage(resource, new, meter, now_ms)
        self._refuse_hopeless()
        self.advance(now_ms)

    def advance(self, now_ms: int) -> None:
        """Let time do what it does: end patience, expire permits, refill rates."""
        record = self.record
        # Patience first: what an expired permit frees is not for those who have given up.
        for id in self._patience.due(now_ms):
            waiter = record.waiters.pop(id)
            self._queues.remove(id, waiter)
            self._remember_resolved(id, "expired")
            record.revision += 1
        for id in self._expiries.due(now_ms):
            self._resolve(id, "expired", now_ms)
        for resource in self._queues.resources():
            self._grant_waiting(resource, now_ms)

    def holders_to_check(self, now_ms: int, at_most: int) -> list[tuple[str, str, str]]:
        """Return (permit, workflow, run) of holders that are due to be looked after.

        Each is due again after twice the time for which it has been held, so a permit that is
        held for hours costs little.
        """
        found: list[tuple[str, str, str]] = []
        for id in self._checks.due(now_ms, at_most):
            permit = self.record.permits[id]
            permit.check_at_ms = now_ms + max(self.check_every_ms, now_ms - permit.granted_at_ms)
            self._checks.add(id, permit.check_at_ms)
            found.append((id, permit.workflow_id, permit.run_id))
        return found

    def woken(self, id: str) -> None:
        """Note that the holder of permit ``id`` has been told of its grant."""
        self.record.wakes.pop(id, None)

    # What can be asked -----------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """Return when ``advance`` next has something to do, or None."""
        found = [at for at in (self._expiries.next(), self._patience.next()) if at is not None]
        for resource in self._queues.resources():
            quota = self._quota(resource)
            head = self._queues.head(resource)
            if quota is None or quota.rate is None or head is None:
                continue
            units = self.record.waiters[head].units
            if self._fits(quota, self._meter(resource), units):
                # Only the rate stands in the way of the next in line.
                at = gcra.earliest(
                    self._meter(resource).tat, quota.rate, quota.effective_burst, units
                )
                if at is not None:
                    found.append(at)
        return min(found, default=None)

    def next_check(self) -> int | None:
        """Return when a holder next has to be looked after, or None."""
        return self._checks.next()

    def grant_of(self, id: str) -> tuple[Permit, Grant]:
        """Return a held permit and the message that tells its holder."""
        permit = self.record.permits[id]
        return permit, Grant(id=id, expires_at_ms=permit.expires_at_ms)

    def view(self) -> LedgerView:
        """Return the ledger as people see it."""
        record = self.record
        meters = sorted(record.meters.items())
        return LedgerView(
            tenant=record.tenant,
            quotas=record.quotas,
            quota_source=record.quota_source,
            accounts={
                resource: Account(
                    granted=meter.granted,
                    released=meter.released,
                    expired=meter.expired,
                    reclaimed=meter.reclaimed,
                    denied=meter.denied,
                    held=meter.held,
                )
                for resource, meter in meters
            },
            units_held={resource: meter.units for resource, meter in meters},
            waiting={name: self._queues.length(name) for name in self._queues.resources()},
            revision=record.revision,
            incarnation=record.incarnation,
        )

    def page(self) -> LedgerPage:
        """Return the ledger with its first permits and waiters."""
        record = self.record
        permits = [
            PermitView(
                id=id,
                resource=permit.resource,
                units=permit.units,
                workflow_id=permit.workflow_id,
                run_id=permit.run_id,
                granted_at_ms=permit.granted_at_ms,
                expires_at_ms=permit.expires_at_ms,
            )
            for id, permit in list(record.permits.items())[:MAX_PAGE]
        ]
        waiters = [
            WaiterView(
                id=id,
                resource=record.waiters[id].resource,
                units=record.waiters[id].units,
                workflow_id=record.waiters[id].workflow_id,
                priority=record.waiters[id].priority,
                since_ms=record.waiters[id].since_ms,
                position=position,
            )
            for position, id in list(self._queues.in_order())[:MAX_PAGE]
        ]
        return LedgerPage(ledger=self.view(), permits=permits, waiters=waiters)

    def check_conservation(self) -> None:
        """Assert that every permit is accounted for; called after every step in production too."""
        for meter in self.record.meters.values():
            assert meter.granted == meter.held + meter.released + meter.expired + meter.reclaimed
            assert meter.held >= 0
            assert meter.units >= 0
        assert sum(meter.held for meter in self.record.meters.values()) == len(self.record.permits)

    # Deciding --------------------------------------------------------------------------------

    def _release(self, id: str, now_ms: int) -> None:
        record = self.record
        if id in record.permits:
            self._resolve(id, "released", now_ms)
        elif (waiter := record.waiters.pop(id, None)) is not None:
            self._queues.remove(id, waiter)
            self._remember_resolved(id, "released")
            record.revision += 1
            self._grant_waiting(waiter.resource, now_ms)
        elif id not in record.resolved:
            # Not known: the request may still be on its way. When it comes, nobody wants it.
            self._remember_resolved(id, "released")
            record.revision += 1

    def _acquire(self, request: Acquire, now_ms: int) -> Decision:
        record = self.record
        if (known := self._known_answer(request.id, now_ms)) is not None:
            return known
        refusal = self._never(request.resource, request.units)
        if refusal is not None:
            return self._deny(request, refusal, None)
        # Everybody takes a place in the line first, so a newcomer never passes those who wait.
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
        )
        record.arrivals += 1
        record.waiters[request.id] = waiter
        self._queues.add(request.id, waiter)
        self._grant_waiting(request.resource, now_ms, told=request.id)
        if request.id in record.permits:
            return self._granted(request.id)
        reason, estimate = self._why(request.id, now_ms)
        if until_ms is None or until_ms <= now_ms:
            self._queues.remove(request.id, record.waiters.pop(request.id))
            return self._deny(request, reason, estimate)
        self._patience.add(request.id, until_ms)
        record.revision += 1
        return Decision(id=request.id, outcome=Outcome.WAITING, retry_at_ms=estimate, reason=reason)

    def _known_answer(self, id: str, now_ms: int) -> Decision | None:
        record = self.record
        if id in record.permits:
            self.woken(id)
            return self._granted(id)
        if id in record.waiters:
            reason, estimate = self._why(id, now_ms)
            return Decision(id=id, outcome=Outcome.WAITING, retry_at_ms=estimate, reason=reason)
        if (ended := record.resolved.get(id)) is not None:
            reason = Reason(
                code=ReasonCode.WAITED_TOO_LONG, message=f"this request has ended: {ended}"
            )
            return Decision(id=id, outcome=Outcome.DENIED, reason=reason)
        return record.denials.get(id)

    def _grant_waiting(self, resource: str, now_ms: int, told: str | None = None) -> None:
        """Grant to those next in line as long as the quota has room, in order, nobody skipped.

        Args:
            resource: Whose line.
            now_ms: Unix time.
            told: The request that is being answered right now, and needs no waking.
        """
        record, quota = self.record, self._quota(resource)
        meter = self._meter(resource)
        while quota is not None and (id := self._queues.head(resource)) is not None:
            waiter = record.waiters[id]
            if not self._fits(quota, meter, waiter.units):
                return
            if quota.rate is not None:
                at = gcra.earliest(meter.tat, quota.rate, quota.effective_burst, waiter.units)
                if at is None or at > now_ms:
                    return
                meter.tat = gcra.spend(meter.tat, quota.rate, waiter.units, now_ms)
            del record.waiters[id]
            self._queues.remove(id, waiter)
            self._hold(id, waiter, quota, meter, now_ms)
            if id != told:
                record.wakes[id] = now_ms

    def _hold(self, id: str, waiter: Waiter, quota: Quota, meter: Meter, now_ms: int) -> None:
        record = self.record
        permit = Permit(
            resource=waiter.resource,
            units=waiter.units,
            workflow_id=waiter.workflow_id,
            run_id=waiter.run_id,
            granted_at_ms=now_ms,
            expires_at_ms=now_ms + quota.max_hold_ms,
            check_at_ms=now_ms + self.check_every_ms,
        )
        record.permits[id] = permit
        self._expiries.add(id, permit.expires_at_ms)
        self._checks.add(id, permit.check_at_ms)
        meter.granted += 1
        meter.held += 1
        meter.units += waiter.units
        record.revision += 1
        self._watch_usage(waiter.resource, quota, meter, now_ms)

    def _resolve(self, id: str, how: Resolution, now_ms: int) -> None:
        record = self.record
        permit = record.permits.pop(id)
        meter = record.meters[permit.resource]
        meter.held -= 1
        meter.units -= permit.units
        match how:
            case "released":
                meter.released += 1
                held_ms = now_ms - permit.granted_at_ms
                meter.hold_ms = (
                    held_ms if meter.released == 1 else (meter.hold_ms * 4 + held_ms) // 5
                )
            case "expired":
                meter.expired += 1
            case "reclaimed":
                meter.reclaimed += 1
        self.woken(id)
        self._remember_resolved(id, how)
        record.revision += 1
        quota = self._quota(permit.resource)
        if quota is not None:
            self._watch_usage(permit.resource, quota, meter, now_ms)
        self._grant_waiting(permit.resource, now_ms)

    def _deny(self, request: Acquire, reason: Reason, retry_at_ms: int | None) -> Decision:
        decision = Decision(
            id=request.id, outcome=Outcome.DENIED, retry_at_ms=retry_at_ms, reason=reason
        )
        if reason.code not in (ReasonCode.UNKNOWN_TENANT, ReasonCode.UNKNOWN_RESOURCE):
            self._meter(request.resource).denied += 1
        self.record.denials[request.id] = decision
        _trim(self.record.denials, MAX_DENIALS_KEPT)
        self.record.revision += 1
        return decision

    def _granted(self, id: str) -> Decision:
        return Decision(
            id=id, outcome=Outcome.GRANTED, expires_at_ms=self.record.permits[id].expires_at_ms
        )

    def _remember_resolved(self, id: str, how: Resolution) -> None:
        self.record.resolved[id] = how
        _trim(self.record.resolved, MAX_RESOLVED_KEPT)

    # Quotas and reasons ----------------------------------------------------------------------

    def _quota(self, resource: str) -> Quota | None:
        quotas = self.record.quotas
        return None if quotas is None else quotas.get(resource, quotas.get(DEFAULT))

    def _meter(self, resource: str) -> Meter:
        return self.record.meters.setdefault(resource, Meter())

    @staticmethod
    def _fits(quota: Quota, meter: Meter, units: int) -> bool:
        return quota.max_active is None or meter.units + units <= quota.max_active

    def _never(self, resource: str, units: int) -> Reason | None:
        """Return why ``units`` of ``resource`` can never be granted, or None when they can."""
        tenant = self.record.tenant
        if self.record.quotas is None:
            return Reason(
                code=ReasonCode.UNKNOWN_TENANT,
                message=f"no quota for tenant {tenant}: list it, or '*', under tenants in "
                "headgate.yaml and run headgate apply",
            )
        quota = self._quota(resource)
        if quota is None:
            return Reason(
                code=ReasonCode.UNKNOWN_RESOURCE,
                message=f"tenant {tenant} has no quota for resource {resource}: list it, or '*', "
                "under its quotas in headgate.yaml and run headgate apply",
            )
        ceilings = [] if quota.max_active is None else [("max_active", quota.max_active)]
        if quota.rate is not None:
            ceilings.append(("burst", quota.effective_burst))
        for name, limit in ceilings:
            if units > limit:
                return Reason(
                    code=ReasonCode.CAN_NEVER_FIT,
                    message=f"{units} of {resource} asked for, but the {name} of tenant {tenant} "
                    f"is {limit}",
                    limit=limit,
                    needed=units,
                )
        return None

    def _why(self, id: str, now_ms: int) -> tuple[Reason, int]:
        """Return why a waiter waits, and an estimate of when it may be its turn: after now."""
        record = self.record
        waiter = record.waiters[id]
        quota, meter = self._quota(waiter.resource), self._meter(waiter.resource)
        assert quota is not None
        position = self._queues.position(id, waiter)
        full = not self._fits(quota, meter, waiter.units)
        rate_at = 0
        if quota.rate is not None:
            # Those ahead count as one unit each, which is cheap to know and good enough.
            tat = gcra.spend(meter.tat, quota.rate, position - 1, now_ms)
            rate_at = gcra.earliest(tat, quota.rate, quota.effective_burst, waiter.units) or 0
        ahead = f", number {position} in line" if position > 1 else ""
        if not full and quota.rate is not None and (rate_at > now_ms or quota.max_active is None):
            reason = Reason(
                code=ReasonCode.RATE,
                message=f"the rate of {quota.rate} for {waiter.resource} is used up{ahead}",
                limit=quota.rate.limit,
                needed=waiter.units,
                position=position,
            )
            return reason, max(now_ms + 1, rate_at)
        slots = max(1, quota.max_active or 1)
        estimate = now_ms + max(1, (meter.hold_ms or HOLD_GUESS_MS) * position // slots)
        reason = Reason(
            code=ReasonCode.QUOTA_USED_UP if full else ReasonCode.QUEUED,
            message=f"{meter.units} of {quota.max_active} {waiter.resource} of tenant "
            f"{record.tenant} in use{ahead}",
            limit=quota.max_active,
            used=meter.units,
            needed=waiter.units,
            position=position,
        )
        return reason, max(estimate, rate_at)

    def _refuse_hopeless(self) -> None:
        """Let go of waiters that new quotas can never serve; their jobs are told when they ask."""
        record = self.record
        for _, id in list(self._queues.in_order()):
            waiter = record.waiters[id]
            reason = self._never(waiter.resource, waiter.units)
            if reason is not None:
                self._queues.remove(id, record.waiters.pop(id))
                record.denials[id] = Decision(id=id, outcome=Outcome.DENIED, reason=reason)
                _trim(record.denials, MAX_DENIALS_KEPT)

    def _watch_usage(self, resource: str, quota: Quota, meter: Meter, now_ms: int) -> None:
        if quota.max_active is None:
            return
        level = meter.usage.observe(meter.units, quota.max_active, now_ms)
        if level is None:
            return
        record = self.record
        record.alert_sequence += 1
        subject = f"tenant/{record.tenant}/{resource}"
        alert = Alert(
            id=f"{subject}:{record.incarnation}:{record.alert_sequence}:quota.threshold",
            kind="quota.threshold",
            severity="critical" if level >= 100 else "warning",
            subject=subject,
            title=f"{record.tenant}: {level} % of {resource} in use",
            text=f"{meter.units} of {quota.max_active} {resource} are held; "
            + ("further jobs wait or are refused." if level >= 100 else "at 100 % jobs wait."),
            at_ms=now_ms,
            data={
                "tenant": record.tenant,
                "resource": resource,
                "level": level,
                "used": meter.units,
                "limit": quota.max_active,
            },
        )
        record.alerts_lost += put(record.alerts, alert)


def _trim(answers: dict[str, Resolution] | dict[str, Decision], at_most: int) -> None:
    while len(answers) > at_most:
        del answers[next(iter(answers))]
