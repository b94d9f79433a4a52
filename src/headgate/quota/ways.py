"""The ways of a ledger that changed between versions."""

from dataclasses import dataclass


@dataclass
class Ways:
    """How a ledger goes on; one object, read by all its parts.

    A run of the workflow keeps the ways with which it began, so that what it has recorded replays:
    each of these but ``asks_first`` is today's way unless a patch says otherwise, and is named with
    it. The next run has today's. Whoever keeps a ledger without a history takes them as they are.

    Attributes:
        as_before: Decide as ledgers did before the patch ``headgate-limits-as-meant``.
        hears_anew: The governor of a pool that was left is told what comes back, what it gave
            counts no more when the pool is joined again, and who waits for more than there is of a
            pool is let go when that is first heard (``headgate-pools-heard-anew``).
        hears_lines: What gates say of the calls that wait there counts, and may be turned away;
            and what they say of blocks that are over for them (``headgate-lines-at-gates``).
        notes_left: What is held of a resource when it leaves its pool is noted, and its governor is
            told until it is back; see ``PoolAccount.left`` (``headgate-held-when-left``).
        sees_idle: What gates hold and do not use counts as free for people, as it is for whoever
            asks next (``headgate-idle-is-not-used``).
        sees_silence: What a gate wishes for does not count once it has not asked for longer than it
            was to (``headgate-silent-gates``).
        is_thorough: Jobs that are in several blocks, or have ended already, are followed up
            (``headgate-jobs-in-several-blocks``).
        is_unhurried: Blocks that are over are noticed late where nobody waits for what comes back
            (``headgate-unhurried-blocks``).
        asks_for_usable: Nothing is wanted of a pool for those whom other limits of the tenant do
            not let begin soon (``headgate-usable-demand``).
        minds_waiters: Who waits is looked after as holders are, and leaves the line when its
            workflow has closed (``headgate-waiters-minded``).
        asks_first: A permit that has been held for ``max_hold_ms`` ends only if its holder is not
            known to run. For those who look after holders; else it ends.
    """

    as_before: bool = False
    hears_anew: bool = True
    hears_lines: bool = True
    notes_left: bool = True
    sees_idle: bool = True
    sees_silence: bool = True
    is_thorough: bool = True
    is_unhurried: bool = True
    asks_for_usable: bool = True
    minds_waiters: bool = True
    asks_first: bool = False
