"""The ways of a governor that changed between versions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ways:
    """How a governor goes on; read by all its parts.

    A run of the workflow keeps the ways with which it began, so that what it has recorded replays:
    each of these is today's way unless a patch says otherwise, and is named with it.

    Attributes:
        as_before: Decide as version 0.1 first did: what is not lent may be others' comfort,
            ``borrow_limit`` limits no comfort under ``priority``, weights count under ``equal``
            with several resources, guarantees count beyond the maximum, what those who have left
            still hold is forgotten, and nobody is told that the same numbers mean something else
            (before ``headgate-pools-as-meant``).
        knows_most: Ledgers are told what their tenants could ever hold, and nobody's turn goes
            beyond it; a ledger that goes by nothing any more is told anew, and so are all when a
            pool becomes ``unlimited``, or no longer is (``headgate-most-known``).
        asks_who_left: Whose ledger has yet to say what it holds when its tenant leaves, is asked,
            and nobody is given more until it has; so is who had left before the governor was
            restored (``headgate-asked-when-left``).
        passes_full_groups: Who waits for room in its group keeps nobody waiting outside of it
            (``headgate-full-groups-passed``).
        stacks: What people set for a shorter time lies over what they have set for longer, which is
            back when it ends (``headgate-capacities-stack``).
    """

    as_before: bool = False
    knows_most: bool = True
    asks_who_left: bool = True
    passes_full_groups: bool = True
    stacks: bool = True
