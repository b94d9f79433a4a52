"""How busy the workers are behind the gates that exchange with a ledger."""

from collections.abc import Mapping
from typing import Final

from headgate.model.limits import SlotUse
from headgate.quota.past import GateMark

KNOWN_MS: Final = 60_000
"""So long what a gate has said of its workers counts: it exchanges more often while it works."""

_NOTEWORTHY: Final = 0.5
_STEP: Final = 0.1


def note(mark: GateMark, slots: SlotUse | None) -> None:
    """Note what a gate says of the workers of its process."""
    mark.slots_used, mark.slots = (0, 0) if slots is None else (slots.used, slots.of)


def in_use(gates: Mapping[str, GateMark], now_ms: int) -> SlotUse | None:
    """Return the slots of all workers that are known, or None when of none anything is known."""
    used = of = 0
    for mark in gates.values():
        if mark.slots and mark.at_ms > now_ms - KNOWN_MS:
            used += mark.slots_used
            of += mark.slots
    return SlotUse(used=used, of=of) if of else None


def forgotten_at(gates: Mapping[str, GateMark], now_ms: int) -> int | None:
    """Return when what a gate has said is next forgotten, or None."""
    known = (mark.at_ms for mark in gates.values() if mark.slots)
    return min((at + KNOWN_MS for at in known if at + KNOWN_MS > now_ms), default=None)


def is_noteworthy(slots: SlotUse | None) -> bool:
    """Return whether workers are so busy that a governor is to know when that changes."""
    return slots is not None and slots.used >= _NOTEWORTHY * slots.of


def differ(told: SlotUse | None, now: SlotUse | None) -> bool:
    """Return whether what a governor was told is clearly off, where that matters."""
    if not is_noteworthy(told) and not is_noteworthy(now):
        return False
    if told is None or now is None:
        return True
    return abs(told.used / told.of - now.used / now.of) >= _STEP
