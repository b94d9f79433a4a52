"""How close together a gate's exchanges with one ledger come."""

from typing import Final

_AT_ONCE: Final = 5
_EVERY_S: Final = 0.1


class Spacing:
    """Lets a few go at once, and ten a second for long; the rest of what is asked travels along.

    An exchange costs the server and the ledger the same whether it carries one ask or a hundred,
    and it is answered in some 40 ms. So a gate that is asked all the time would send 25 a second
    with a handful of asks in each; ten with more in each cost less than half, and an ask waits for
    half of the difference. Who asks now and then waits for nothing. (GCRA, as rates of tenants.)
    """

    def __init__(self) -> None:
        self._full_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return how long the next one has to wait; to be asked once for each."""
        begins_s = max(now_s, self._full_at_s - (_AT_ONCE - 1) * _EVERY_S)
        self._full_at_s = max(begins_s, self._full_at_s) + _EVERY_S
        return begins_s - now_s
