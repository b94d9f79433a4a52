"""What people may do to a pool."""

from collections.abc import Sequence
from typing import Final

from headgate.allocation.governor import Governor
from headgate.allocation.governor_record import GovernorRecord
from headgate.allocation.overrides import capacity_with, percent, words
from headgate.model.audit import AuditEntry
from headgate.model.pool import CapacityOverride, PoolCommand

MAX_COMMANDS_KEPT: Final = 100

MAX_SET: Final = 20
"""Capacities that may be set, one over the other."""


def nothing_to_resume(record: GovernorRecord, command: PoolCommand) -> str | None:
    """Return why a command would end nothing; None: it does something, or has been done before."""
    if command.action != "resume" or record.override is not None or command.id in record.commands:
        return None
    return f"nothing is set by people for pool {record.pool}"


def obey(governor: Governor, command: PoolCommand, now_ms: int) -> str:
    """Do what an operator says; a repeat of the same command changes nothing.

    Returns:
        What that does to what was set before, and of how much a cut is, for people.

    Raises:
        ValueError: It names a resource that the pool does not have, or too much is set.
    """
    record = governor.record
    if command.id in record.commands:
        return ""
    unknown = sorted(set(command.capacity) - set(record.settings.capacity))
    if unknown:
        has = ", ".join(sorted(record.settings.capacity)) or "none"
        raise ValueError(f"pool {record.pool} has no resource {unknown[0]}; it has: {has}")
    set_before, before = record.set_by_people, governor.whole()
    if command.action != "resume" and len(set_before) >= MAX_SET:
        raise ValueError(
            f"{MAX_SET} capacities are set for pool {record.pool}, one over the other: "
            f"headgate pool resume {record.pool} ends them"
        )
    record.commands = [*record.commands, command.id][-MAX_COMMANDS_KEPT:]
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
    ended = [one for one in set_before if all(one is not left for left in record.set_by_people)]
    record.audit.append(
        AuditEntry(
            at_ms=now_ms,
            actor=command.actor,
            reason=command.reason,
            action=command.action,
            target=f"governor/{record.pool}",
            before={
                "capacity": before,
                **({"ended": [one.model_dump(mode="json") for one in ended]} if ended else {}),
            },
            after={
                "capacity": governor.whole(),
                "until_ms": None if override is None else override.until_ms,
            },
            request_id=command.id,
        )
    )
    said = _said(record, override, ended, now_ms)
    governor.advance(now_ms)
    record.told_revision = record.revision
    return said


def _said(
    record: GovernorRecord,
    override: CapacityOverride | None,
    ended: Sequence[CapacityOverride],
    now_ms: int,
) -> str:
    """Return what a command does to what was set before, and of how much it leaves a share."""
    of_ended = "; ".join(words(one, now_ms) for one in ended)
    if override is None:
        return f"it ends {of_ended}" if ended else ""
    said: list[str] = []
    if record.settings.source != "listed":
        said.append("the configuration does not list this pool")
    if override.share is not None:
        numbers = [one for one in record.beneath if one.share is None]
        whole = capacity_with(record.settings.capacity, numbers)
        units = ", ".join(f"{units} {name}" for name, units in whole.items())
        said.append(f"that is {percent(override.share)} of {units}")
    if ended:
        said.append(f"it takes the place of {of_ended}")
    if record.beneath:
        of_others = "; ".join(words(one, now_ms) for one in reversed(record.beneath))
        said.append(f"it lies over {of_others}")
    return "; ".join(said)
