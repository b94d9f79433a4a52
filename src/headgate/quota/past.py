"""What a ledger remembers of requests that are over, so that a repeat of one changes nothing.

Three things are remembered, each bounded by time and by number, because all of it is carried along
whenever the workflow continues as new:

* How requests ended, for at least ten minutes or 1,400 of them. An acquire that comes after its own
  release is not granted; a release that comes twice finds nothing to do. Of an id, a fingerprint of
  48 bits is enough: that a new id is taken for one of 2,800 old ones happens once in 100 billion
  requests, and then the request is refused.
* Denials as they were given, for at least ten minutes or 200 of them.
* The number of the last exchange of each gate. A gate has one under way at a time, so whatever
  bears no higher number is a repeat, and nothing is granted by it that has not been before.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

REMEMBERED_MS: Final = 600_000
"""For how long what is over is remembered at least, unless there is too much of it: gates and jobs
have long given up repeating a request by then."""

ACTIVE_MS: Final = 10_000
"""A gate that exchanges with the ledger all the time does so within this time, also when that has
become slow because there are so many."""

MAX_ENDED_KEPT: Final = 2_800
MAX_DENIALS_KEPT: Final = 400
MAX_GATES_KEPT: Final = 200


@dataclass(slots=True)
class Memory(Generic[Value]):
    """Values by key, in two generations: when the younger is old or full, the older is forgotten.

    Attributes:
        recent: The younger generation, oldest first.
        before: The older generation.
        since_ms: When the younger one began; None: not known.
    """

    recent: dict[str, Value] = field(default_factory=dict)
    before: dict[str, Value] = field(default_factory=dict)
    since_ms: int | None = None

    def get(self, key: str) -> Value | None:
        """Return what is remembered by that key, or None."""
        found = self.recent.get(key)
        return self.before.get(key) if found is None else found

    def put(self, key: str, value: Value, now_ms: int, at_most: int) -> None:
        """Remember ``value``, and no more than ``at_most`` in all."""
        if self.since_ms is None:
            self.since_ms = now_ms
        age_ms = now_ms - self.since_ms
        if age_ms >= REMEMBERED_MS or len(self.recent) >= at_most // 2:
            self.before = {} if age_ms >= 2 * REMEMBERED_MS else self.recent
            self.recent, self.since_ms = {}, now_ms
        self.recent[key] = value

    def __len__(self) -> int:
        return len(self.recent) + len(self.before)


@dataclass(slots=True)
class GateMark:
    """How far a gate has come.

    Attributes:
        number: Of its last exchange.
        at_ms: When that came.
        slots_used: Worker slots in use in its process, as it said then.
        slots: All of them; 0: not known.
    """

    number: int
    at_ms: int
    slots_used: int = 0
    slots: int = 0


def fingerprint(id: str) -> str:
    """Return what is remembered of an id whose request has ended: 48 bits, in hexadecimal."""
    return blake2b(id.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def is_repeat(gates: dict[str, GateMark], gate: str, number: int, now_ms: int) -> bool:
    """Return whether an exchange of ``gate`` has been here before, or one after it; note it."""
    mark = gates.pop(gate, None)
    repeat = mark is not None and number <= mark.number
    gates[gate] = GateMark(max(number, mark.number) if mark is not None else number, now_ms)
    while len(gates) > 1:
        oldest = next(iter(gates))
        if len(gates) <= MAX_GATES_KEPT and gates[oldest].at_ms > now_ms - REMEMBERED_MS:
            break
        del gates[oldest]
    return repeat


def active_gates(gates: dict[str, GateMark], now_ms: int) -> int:
    """Return how many gates have exchanged just now: so many may do so at the same time."""
    return max(1, sum(1 for mark in gates.values() if mark.at_ms > now_ms - ACTIVE_MS))
