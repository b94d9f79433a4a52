"""What a tenant held lately: an average over time in which older times count less."""

from dataclasses import dataclass

from headgate.decay import decayed


@dataclass(slots=True)
class RecentUsage:
    """The average, and what has been held since it was last brought up to date.

    Attributes:
        micro_units: Micro-units held on average until ``at_ms``.
        held: Units held since.
        at_ms: Unix time.
    """

    micro_units: int = 0
    held: int = 0
    at_ms: int = 0

    def note(self, held: int, now_ms: int, half_life_ms: int) -> None:
        """Note that from now on ``held`` units are held."""
        self.micro_units = self.at(now_ms, half_life_ms)
        self.held = held
        self.at_ms = max(self.at_ms, now_ms)

    def at(self, now_ms: int, half_life_ms: int) -> int:
        """Return the average at ``now_ms``, in micro-units."""
        return decayed(self.micro_units, self.held, now_ms - self.at_ms, half_life_ms)
