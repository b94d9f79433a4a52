"""What people may do to a breaker."""

from typing import Final

from headgate.breaker.machine import Breaker
from headgate.breaker.record import BreakerRecord
from headgate.model.breaker import BreakerCommand, BreakerState, Override, Throttle, Transition

MAX_COMMANDS_KEPT: Final = 100
_MODES: Final = {
    "force_open": BreakerState.FORCED_OPEN,
    "force_closed": BreakerState.FORCED_CLOSED,
    "shadow": BreakerState.SHADOW,
}


def nothing_to_resume(record: BreakerRecord, command: BreakerCommand) -> str | None:
    """Return why a command would end nothing; None: it does something, or has been done before."""
    is_set = record.override is not None or record.throttle is not None
    if command.action != "resume" or is_set or command.id in record.commands:
        return None
    return f"nothing is set by people for {record.downstream}"


def obey(breaker: Breaker, command: BreakerCommand, now_ms: int) -> None:
    """Do what an operator says; a repeat of the same command changes nothing.

    What is set lies over the breaker's own state, which goes on underneath: when the time is over,
    or the operator resumes, the breaker is what it would have been. A throttle takes nothing from
    that: it only bounds what passes while calls pass.
    """
    record = breaker.record
    breaker.advance(now_ms)
    if command.id in record.commands:
        return
    record.commands = [*record.commands, command.id][-MAX_COMMANDS_KEPT:]
    source, epoch = record.effective, record.epoch
    until_ms = None if command.for_ms is None else now_ms + command.for_ms
    if command.action in _MODES:
        target = _MODES[command.action]
        record.override = Override.model_validate(
            {
                "mode": target,
                "actor": command.actor,
                "reason": command.reason,
                "since_ms": now_ms,
                "until_ms": until_ms,
            }
        )
        breaker.note(source, target, "operator", command.reason, {}, now_ms, command.actor)
    elif command.share is not None:
        record.throttle = Throttle(
            share=command.share,
            actor=command.actor,
            reason=command.reason,
            since_ms=now_ms,
            until_ms=until_ms,
        )
        reason = f"cut to {command.share * 100:g}%: {command.reason}"
        numbers = {"share": command.share}
        breaker.note(source, source, "operator", reason, numbers, now_ms, command.actor)
    elif command.action == "resume":
        if record.throttle is not None:
            reason = f"cut no more: {command.reason}"
            breaker.unthrottle("operator", reason, command.actor, now_ms)
        if record.override is not None:
            breaker.lift("operator", command.reason, command.actor, now_ms)
    else:
        record.override = record.throttle = None
        breaker.start_afresh(now_ms)
        record.reason = f"reset by {command.actor}: {command.reason}"
        closed = BreakerState.CLOSED
        breaker.note(source, closed, "operator", command.reason, {}, now_ms, command.actor)
    record.revision += 1
    record.told_revision = record.revision
    record.transitions = _signed(record.transitions, epoch, command)
    record.unsaved = _signed(record.unsaved, epoch, command)
    breaker.conclude(now_ms)


def _signed(steps: list[Transition], after_epoch: int, command: BreakerCommand) -> list[Transition]:
    """Return transitions, with those of a command saying so: the audit has it from them."""
    signed = {"request_id": command.id, "action": command.action}
    return [step.model_copy(update=signed) if step.epoch > after_epoch else step for step in steps]
