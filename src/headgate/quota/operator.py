"""What people may do to a ledger: other quotas for a time, throttles, and taking permits back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from headgate.alerts.words import clock
from headgate.model.audit import HEADGATE, AuditEntry
from headgate.model.contract import LAST_MS
from headgate.model.ids import DEFAULT
from headgate.model.ledger import (
    CommandReply,
    LedgerCommand,
    Lift,
    ReleasePermit,
    Resume,
    SetOverride,
    SetPause,
    SetThrottle,
)
from headgate.model.quota import Quota, QuotaOverride, Throttle
from headgate.model.settings import LedgerSettings
from headgate.quota.lease_record import idle_units
from headgate.quota.limits import WINDOWS, base_quota, overridden, window_used
from headgate.quota.record import LedgerRecord, Meter, take_settings

MAX_COMMANDS_KEPT: Final = 100
"""Answers that are remembered, so that a repeat gets the same one."""

MAX_SET: Final = 200
"""Overrides, and throttles, of one tenant at a time."""

MAX_AUDIT_KEPT: Final = 1_000
"""Audit entries that wait until they are saved."""

_SETTING: Final = (SetOverride, SetThrottle, SetPause)

Refusal = Literal["invalid", "not_found", "below_usage", "changed_since"]


def repeated(record: LedgerRecord, command: LedgerCommand, now_ms: int) -> QuotaOverride | None:
    """Return the override that stands and that ``command`` sets once more, if there is one.

    That of the same person, which changes the same to the same from the same moment on: whoever
    says so twice wants one, which holds as long as was said last.
    """
    action = command.action
    if not isinstance(action, SetOverride):
        return None
    new = _override(command, action, now_ms)
    for one in record.overrides.values():
        said = (one.actor, one.resource, one.changes.values, max(now_ms, one.begins_at_ms))
        if said == (new.actor, new.resource, new.changes.values, new.begins_at_ms):
            return one
    return None


def answer(
    record: LedgerRecord,
    command: LedgerCommand,
    now_ms: int,
    idle: Mapping[str, int],
    *,
    as_before: bool = False,
    replaced: QuotaOverride | None = None,
) -> CommandReply:
    """Return what ``command`` would do, or why it is refused; changes nothing.

    Args:
        record: The ledger's.
        command: The operator's.
        now_ms: Unix time.
        idle: Units that gates hold and do not use, by resource.
        as_before: See ``Ways``.
        replaced: The override that ends with it; see ``repeated``.
    """
    action = command.action
    match action:
        case SetOverride():
            return _answer_override(record, command, action, now_ms, idle, as_before, replaced)
        case SetThrottle() | SetPause():
            return _answer_throttle(record, command, action, now_ms)
        case Resume():
            return _answer_resume(record, command, action)
        case Lift():
            found = record.overrides.get(action.id) or record.throttles.get(action.id)
            if found is None:
                return refuse(command, "not_found", f"no override or throttle {action.id}")
            message = f"ends what {found.actor} set for {_name(found.resource)}: {found.reason}"
            after = _once_gone(record, found, now_ms)
            return _accept(command, message, before=_plain(found), after=after)
        case ReleasePermit():
            if (permit := record.permits.get(action.permit)) is not None:
                message = f"takes {_needs(permit.needs)} back from {permit.workflow_id}"
                return _accept(command, message, _who(permit.workflow_id, permit.needs))
            if (waiter := record.waiters.get(action.permit)) is not None:
                message = f"takes {waiter.workflow_id} out of the line for {_needs(waiter.needs)}"
                return _accept(command, message, _who(waiter.workflow_id, waiter.needs))
            return refuse(command, "not_found", f"nobody holds or waits for {action.permit}")


def of_unlisted(record: LedgerRecord, command: LedgerCommand) -> str:
    """Return what whoever sets something for a tenant that nobody lists should know; else nothing.

    A slip of the pen in a job begins a ledger, which then takes orders as any other does.
    """
    if record.quota_source == "listed" or not isinstance(command.action, _SETTING):
        return ""
    has = "has the quotas of '*'" if record.quota_source == "default" else "is granted nothing"
    return f"; the configuration does not list {record.tenant}: it {has}"


def apply(
    record: LedgerRecord,
    command: LedgerCommand,
    reply: CommandReply,
    now_ms: int,
    replaced: QuotaOverride | None = None,
) -> None:
    """Set or end what an accepted command says, and note it in the audit; args as ``answer``.

    Permits are released by the ledger itself.
    """
    action, target = command.action, ""
    match action:
        case SetOverride():
            target = action.resource
            if replaced is not None:
                del record.overrides[replaced.id]
            record.overrides[command.id] = _override(command, action, now_ms)
        case SetThrottle() | SetPause():
            target = action.resource
            record.throttles[command.id] = _throttle(command, action, now_ms)
        case Resume():
            target = action.resource
            for id in [id for id, one in record.throttles.items() if one.resource == target]:
                del record.throttles[id]
        case Lift():
            ended = record.overrides.pop(action.id, None) or record.throttles.pop(action.id)
            target = ended.resource
        case ReleasePermit():
            target = action.permit
    note(
        record,
        AuditEntry(
            at_ms=now_ms,
            actor=command.actor,
            reason=command.reason,
            action=action.kind,
            target=f"ledger/{record.tenant}/{target}",
            before=reply.before,
            after=reply.after,
            request_id=command.id,
        ),
    )


def expire(record: LedgerRecord, now_ms: int) -> None:
    """End the overrides and throttles whose time is over."""
    for one in [one for one in record.overrides.values() if one.ends_at_ms <= now_ms]:
        del record.overrides[one.id]
        note(record, _ended(record, "override_ended", one, one.ends_at_ms))
    for throttle in list(record.throttles.values()):
        if throttle.until_ms is not None and throttle.until_ms <= now_ms:
            del record.throttles[throttle.id]
            note(record, _ended(record, "throttle_ended", throttle, throttle.until_ms))


def remember(record: LedgerRecord, reply: CommandReply) -> None:
    """Keep an answer for those who repeat the command."""
    record.commands[reply.id] = reply
    while len(record.commands) > MAX_COMMANDS_KEPT:
        del record.commands[next(iter(record.commands))]


def note(record: LedgerRecord, entry: AuditEntry) -> None:
    """Append to the audit; when nothing has been saved for long, the oldest makes room."""
    record.audit.append(entry)
    if len(record.audit) > MAX_AUDIT_KEPT:
        del record.audit[0]
        record.audit_lost += 1


def below_usage(
    of: str, before: Quota | None, after: Quota | None, meter: Meter, idle: int, now_ms: int
) -> list[str]:
    """Return a sentence for each limit that would be lowered below what is used.

    Args:
        of: Of which resource and tenant, in words.
        before: The quota that holds; a limit that is not lowered is not named.
        after: The quota that is to hold.
        meter: What is used.
        idle: Units of it that gates hold and do not use: they give them back.
        now_ms: For when; windows that are over by then count for nothing.
    """
    held = max(0, meter.units - idle)
    if after is None:
        if before is None or held == 0:
            return []
        return [f"{of} would have no quota, but {held} are held"]
    found: list[str] = []

    def compare(name: str, units: int, what: str, until: str) -> None:
        new = getattr(after, name)
        old = None if before is None else getattr(before, name)
        if new is not None and new < units and (old is None or new < old):
            found.append(
                f"{name} of {of} would be {new}, but {units} are {what}, so that under it nothing "
                f"would be granted until {until}"
            )

    compare("max_active", held, "held", "enough has come back")
    for kind in WINDOWS:
        if (used := window_used(meter, kind, now_ms)) > 0:
            ends = clock(meter.windows[kind].ends_at_ms, now_ms, after.time_zone)
            compare(kind, used, "granted already in this window", f"it ends at {ends}")
    return found


def lowered_below_usage(record: LedgerRecord, settings: LedgerSettings, now_ms: int) -> list[str]:
    """Return a sentence for each limit that ``settings`` would lower below what is used.

    Overrides and reservations count as they are at ``now_ms``; throttles and pools do not.
    """
    then = replace(record)
    take_settings(then, settings)
    found: list[str] = []
    idle = idle_units(record.leases.values())
    for resource, meter in sorted(record.meters.items()):
        old, new = base_quota(record, resource), base_quota(then, resource)
        found += below_usage(
            f"{resource} of {record.tenant}",
            None if old is None else overridden(record, resource, old, now_ms),
            None if new is None else overridden(then, resource, new, now_ms),
            meter,
            idle.get(resource, 0),
            now_ms,
        )
    return found


def _answer_override(
    record: LedgerRecord,
    command: LedgerCommand,
    action: SetOverride,
    now_ms: int,
    idle: Mapping[str, int],
    as_before: bool,
    replaced: QuotaOverride | None,
) -> CommandReply:
    override = _override(command, action, now_ms)
    resource = action.resource
    base = base_quota(record, resource)
    if base is None:
        return refuse(command, "not_found", f"{record.tenant} has no quota for {resource}")
    if override.ends_at_ms <= override.begins_at_ms:
        return refuse(command, "invalid", "the end of the override has passed already")
    if replaced is None and len(record.overrides) >= MAX_SET:
        return refuse(command, "invalid", f"there are {MAX_SET} overrides: lift some first")
    at_ms = override.begins_at_ms
    before = overridden(record, resource, base, at_ms)
    with_it = replace(record, overrides={**record.overrides, override.id: override})
    after = overridden(with_it, resource, base, at_ms)
    try:
        Quota.model_validate({**dict(before), **action.changes.values})
    except ValueError as error:
        return refuse(command, "invalid", _first_message(error))
    meter = record.meters.get(resource, Meter())
    # A window that is over by then does not matter. What is held may be held still.
    used_at_ms = now_ms if as_before else at_ms
    unused = idle.get(resource, 0)
    lower = below_usage(f"{resource} of {record.tenant}", before, after, meter, unused, used_at_ms)
    if lower and not command.allow_below_usage:
        return refuse(
            command,
            "below_usage",
            f"{'; '.join(lower)}. Nothing would be taken back: say so with allow_below_usage",
        )
    message = f"{resource} of {record.tenant} has another quota until the override ends"
    was = _fields(before, override)
    if replaced is not None:
        message += f"; in place of {replaced.id}, by which {replaced.actor} set the same"
        was = _plain(replaced)
    return _accept(command, message, before=was, after=_plain(override))


def _answer_throttle(
    record: LedgerRecord, command: LedgerCommand, action: SetThrottle | SetPause, now_ms: int
) -> CommandReply:
    resource = action.resource
    if resource != DEFAULT and base_quota(record, resource) is None:
        return refuse(command, "not_found", f"{record.tenant} has no quota for {resource}")
    throttle = _throttle(command, action, now_ms)
    if throttle.until_ms is not None and throttle.until_ms <= now_ms:
        return refuse(command, "invalid", "the end of the throttle has passed already")
    if len(record.throttles) >= MAX_SET:
        return refuse(command, "invalid", f"there are {MAX_SET} throttles: lift some first")
    what = "is paused" if throttle.share == 0 else f"is cut to {throttle.share:.0%}"
    before = [_plain(one) for one in record.throttles.values() if one.resource == resource]
    return _accept(
        command,
        f"{_name(resource)} of {record.tenant} {what}",
        before={"throttles": before} if before else {},
        after=_plain(throttle),
    )


def _answer_resume(record: LedgerRecord, command: LedgerCommand, action: Resume) -> CommandReply:
    resource = action.resource
    found = [one for one in record.throttles.values() if one.resource == resource]
    if found:
        message = f"{_name(resource)} of {record.tenant} is no longer throttled"
        return _accept(command, message, before={"throttles": [_plain(one) for one in found]})
    message = f"no throttle is set for {_name(resource)} of {record.tenant}"
    if record.throttles:
        others = sorted({_name(one.resource) for one in record.throttles.values()})
        message += f"; there are some for {', '.join(others)}"
    base = None if resource == DEFAULT else base_quota(record, resource)
    if record.paused is not None or (base is not None and base.paused is not None):
        message += "; it is paused by the configuration: change that, and run headgate apply"
    return refuse(command, "not_found", message)


def _override(command: LedgerCommand, action: SetOverride, now_ms: int) -> QuotaOverride:
    begins_at_ms = max(now_ms, action.begins_at_ms or 0)
    ends_at_ms = action.ends_at_ms
    if action.for_ms is not None:
        ends_at_ms = min(begins_at_ms + action.for_ms, LAST_MS)
    return QuotaOverride(
        id=command.id,
        resource=action.resource,
        changes=action.changes,
        begins_at_ms=begins_at_ms,
        ends_at_ms=ends_at_ms,
        actor=command.actor,
        reason=command.reason,
    )


def _fields(quota: Quota, override: QuotaOverride) -> dict[str, Any]:
    """Return what a quota says of the fields that an override changes."""
    plain = quota.model_dump(mode="json")
    return {name: plain[name] for name in override.changes.values}


def _once_gone(record: LedgerRecord, one: QuotaOverride | Throttle, at_ms: int) -> dict[str, Any]:
    """Return the fields that an override changes as they are when it is gone, for the audit.

    Others may lie over the quota still. Of a throttle there is nothing to say.
    """
    base = base_quota(record, one.resource)
    if isinstance(one, Throttle) or base is None:
        return {}
    rest = {id: other for id, other in record.overrides.items() if id != one.id}
    at_ms = max(at_ms, one.begins_at_ms)
    quota = overridden(replace(record, overrides=rest), one.resource, base, at_ms)
    return {"changes": _fields(quota, one)}


def _throttle(command: LedgerCommand, action: SetThrottle | SetPause, now_ms: int) -> Throttle:
    return Throttle(
        id=command.id,
        resource=action.resource,
        share=action.share if isinstance(action, SetThrottle) else 0.0,
        until_ms=action.until_ms if isinstance(action, SetThrottle) else None,
        actor=command.actor,
        reason=command.reason,
        since_ms=now_ms,
    )


def _ended(
    record: LedgerRecord, action: str, one: QuotaOverride | Throttle, at_ms: int
) -> AuditEntry:
    return AuditEntry(
        at_ms=at_ms,
        actor=HEADGATE,
        reason=one.reason,
        action=action,
        target=f"ledger/{record.tenant}/{one.resource}",
        before=_plain(one),
        after=_once_gone(record, one, at_ms),
        request_id=one.id,
    )


def _accept(
    command: LedgerCommand,
    message: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> CommandReply:
    return CommandReply(
        id=command.id,
        accepted=True,
        message=message,
        dry_run=command.dry_run,
        before=before or {},
        after=after or {},
    )


def refuse(command: LedgerCommand, refused: Refusal, message: str) -> CommandReply:
    """Return the answer to a command that is not obeyed."""
    return CommandReply(
        id=command.id, accepted=False, message=message, refused=refused, dry_run=command.dry_run
    )


def _plain(one: QuotaOverride | Throttle) -> dict[str, Any]:
    return one.model_dump(mode="json")


def _name(resource: str) -> str:
    return "all" if resource == DEFAULT else resource


def _needs(needs: list[tuple[str, int]]) -> str:
    return " and ".join(f"{units} {resource}" for resource, units in needs)


def _who(workflow_id: str, needs: list[tuple[str, int]]) -> dict[str, Any]:
    return {"workflow_id": workflow_id, "units": dict(needs)}


def _first_message(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    return str(errors()[0]["msg"]).removeprefix("Value error, ") if errors else str(error)
