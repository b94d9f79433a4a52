"""What people may do to a pool."""

from typing import Final

from headgate.allocation.governor import Governor
from headgate.allocation.governor_record import GovernorRecord
from headgate.model.audit import AuditEntry
from headgate.model.pool import CapacityOverride, PoolCommand

MAX_COMMANDS_KEPT: Final = 100


def nothing_to_resume(record: GovernorRecord, command: PoolCommand) -> str | None:
    """Return why a command would end nothing; None: it does something, or has been done before."""
    if command.action != "resume" or record.override is not None or command.id in record.commands:
        return None
    return f"nothing is set by people for pool {record.pool}"


def obey(governor: Governor, command: PoolCommand, now_ms: int) -> None:
    """Do what an operator says; a repeat of the same command changes nothing.

    Raises:
        ValueError: It names a resource that the pool does not have.
    """
    record = governor.record
    if command.id in record.commands:
        return
    unknown = sorted(set(command.capacity) - set(record.settings.capacity))
    if unknown:
        has = ", ".join(sorted(record.settings.capacity)) or "none"
        raise ValueError(f"pool {record.pool} has no resource {unknown[0]}; it has: {has}")
    record.commands = [*record.commands, command.id][-MAX_COMMANDS_KEPT:]
    before = governor.whole()
    override = None
    if command.action != "resume":
        override = CapacityOverride(
            capacity=command.capacity if command.action == "set_capacity" else {},
            share=command.share if command.action == "throttle" else None,
            actor=command.actor,
            reason=command.reason,
            since_ms=now_ms,
            until_ms=None if command.for_ms is None else now_ms + command.for_ms,
        )
    governor.set_capacity(override)
    record.audit.append(
        AuditEntry(
            at_ms=now_ms,
            actor=command.actor,
            reason=command.reason,
            action=command.action,
            target=f"governor/{record.pool}",
            before={"capacity": before},
            after={
                "capacity": governor.whole(),
                "until_ms": None if override is None else override.until_ms,
            },
            request_id=command.id,
        )
    )
    governor.advance(now_ms)
    record.told_revision = record.revision
