"""What the user's own function says of the end of a call."""

import logging
from collections.abc import Callable
from typing import Any

from headgate.model.breaker import CallOutcome
from headgate.orchestrator.mistakes import shown

_LOG = logging.getLogger("headgate")

Classify = Callable[[Any], CallOutcome | str | None]


class OwnRule:
    """A user's ``classify``, whose defects change nothing of how a call ends.

    Args:
        classify: Returns ``success``, ``failure`` or ``ignored`` for a result or an exception, or
            None where others are to say.
        downstream: What is called; for the log.
    """

    def __init__(self, classify: Classify, downstream: str) -> None:
        self._classify = classify
        self._downstream = downstream
        self._has_complained = False

    def __call__(self, end: object) -> CallOutcome | None:
        """Return what the function says; None: it says nothing that can be used."""
        try:
            said = self._classify(end)
        except Exception as error:
            self._complain(f"raised {shown(error)}")
            return None
        if said is None:
            return None
        try:
            return CallOutcome(said)
        except ValueError:
            self._complain(f"returned {shown(said)}, which is not success, failure or ignored")
            return None

    def _complain(self, what: str) -> None:
        """Log a defect, once: the next call would show the same."""
        if self._has_complained:
            return
        self._has_complained = True
        _LOG.warning(
            "classify of calls to %s %s; such calls count as the built-in rules and those of the "
            "configuration say",
            self._downstream,
            what,
        )
