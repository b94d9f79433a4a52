"""The one shape that all rules share: something begins, lasts, is told of, and is over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Turn = Literal["told", "higher", "still", "over"]
"""What there is to tell: it has begun; it got worse; it lasts; it is over."""


@dataclass(slots=True)
class Episode:
    """Something that lasts, and that people have been told of or will be.

    Attributes:
        since_ms: Since when it has been so.
        about: What of its workflow it concerns, such as a resource.
        level: How bad it was when people were last told, or has fallen to since; 0: not told.
        told_ms: When they were last told; None: not yet.
        over_since_ms: Since when it has no longer been so.
        last: How bad it was when it was last looked at.
        due_ms: When it has to be looked at again, whatever happens; None: when something happens.
        tally: What has gathered in it, if it counts something.
        named: Some of whom it concerns.
        reached: When each level that people were told of was reached, and not left since.
    """

    since_ms: int
    about: str = ""
    level: int = 0
    told_ms: int | None = None
    over_since_ms: int | None = None
    last: int = 0
    due_ms: int | None = None
    tally: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    reached: dict[int, int] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Whether people know of it."""
        return self.told_ms is not None

    @property
    def level_since_ms(self) -> int:
        """Since when it has been as bad as ``level``."""
        return self.reached.get(self.level, self.since_ms)

    def rise(self, level: int, at_ms: int) -> None:
        """Note that it has become so bad."""
        self.level, self.reached[level] = level, at_ms

    def fall(self, level: int) -> None:
        """Note that it has become less bad; whoever rose above ``level`` has reached that, too."""
        at_ms = min((at for one, at in self.reached.items() if one >= level), default=self.since_ms)
        self.reached = {one: at for one, at in self.reached.items() if one < level}
        self.level, self.reached[level] = level, at_ms
        self.over_since_ms = None


@dataclass(frozen=True, slots=True)
class Lasts:
    """For how long a rule wants something to last.

    Attributes:
        after_ms: Before people are told.
        calm_ms: No longer so, before they are told that it is over; 0: at once.
        repeat_ms: Until they are told again; None: they are not.
        wakes: A repeat comes by itself; else when something happens after its time.
    """

    after_ms: int = 0
    calm_ms: int = 0
    repeat_ms: int | None = None
    wakes: bool = True


class Step(NamedTuple):
    """Something to tell: which turn, of which episode."""

    turn: Turn
    episode: Episode


def follow(
    episodes: dict[str, Episode],
    key: str,
    level: int,
    lasts: Lasts,
    now_ms: int,
    *,
    about: str = "",
    since_ms: int | None = None,
    holds: Callable[[int], bool] | None = None,
    again_ms: int | None = None,
    repeats_after_fall: bool = True,
) -> list[Step]:
    """Take how bad something is at ``now_ms``, and return what there is to tell.

    A rise is told at once, and only the highest level. A level is left when it has not held for
    ``calm_ms``; a fall to a lower level is not told, nor is what was never told of when it ends.
    Between two calls everything is as it was at the first.

    Args:
        episodes: Where the episode is kept, by its key.
        key: Of the episode.
        level: How bad it is; 0: it is not so.
        lasts: For how long it has to be so.
        now_ms: Unix time.
        about: See ``Episode``.
        since_ms: Since when it has been so, as long as it is not told; None: this call.
        holds: Whether a level that was told still holds; by default at that level or above.
        again_ms: When to look again in any case.
        repeats_after_fall: Also what has fallen to a lower level is looked at to be told again.
    """
    steps: list[Step] = []
    episode = episodes.get(key)
    if episode is not None and _has_calmed(episode, lasts, now_ms):
        if episode.last == 0:
            del episodes[key]
            steps.append(Step("over", episode))
            episode = None
        else:
            episode.fall(episode.last)
    if episode is None:
        if level <= 0:
            return steps
        begun_ms = now_ms if since_ms is None else since_ms
        episode = episodes[key] = Episode(begun_ms, about)
    elif not episode.is_told:
        if level <= 0:
            del episodes[key]
            return steps
        if since_ms is not None:
            episode.since_ms = since_ms
    episode.last = level
    turn = _turn(episode, level, lasts, now_ms, holds)
    if turn == "over":
        del episodes[key]
    elif turn is not None:
        episode.told_ms = now_ms
    if turn is not None:
        steps.append(Step(turn, episode))
    due = [_due(episode, lasts, repeats_after_fall), again_ms]
    episode.due_ms = min((at for at in due if at is not None), default=None)
    return steps


def _turn(
    episode: Episode, level: int, lasts: Lasts, now_ms: int, holds: Callable[[int], bool] | None
) -> Turn | None:
    if not episode.is_told:
        if now_ms - episode.since_ms < lasts.after_ms:
            return None
        episode.rise(level, episode.since_ms)
        return "told"
    if level > episode.level:
        episode.rise(level, now_ms)
        episode.over_since_ms = None
        return "higher"
    still = level >= episode.level if holds is None else holds(episode.level)
    if still:
        episode.over_since_ms = None
        assert episode.told_ms is not None
        is_due = lasts.repeat_ms is not None and now_ms - episode.told_ms >= lasts.repeat_ms
        return "still" if is_due else None
    if episode.over_since_ms is None:
        episode.over_since_ms = now_ms
    if lasts.calm_ms > 0:
        return None
    if level <= 0:
        return "over"
    episode.fall(level)
    return None


def _has_calmed(episode: Episode, lasts: Lasts, now_ms: int) -> bool:
    return (
        episode.is_told
        and episode.over_since_ms is not None
        and now_ms - episode.over_since_ms >= lasts.calm_ms
    )


def _due(episode: Episode, lasts: Lasts, repeats_after_fall: bool) -> int | None:
    """Return when time alone changes something."""
    if episode.told_ms is None:
        return episode.since_ms + lasts.after_ms
    over_ms = None if episode.over_since_ms is None else episode.over_since_ms + lasts.calm_ms
    if over_ms is not None and episode.last == 0:
        return over_ms
    if (
        lasts.repeat_ms is None
        or not lasts.wakes
        or (over_ms is not None and not repeats_after_fall)
    ):
        return None
    # That a level has been left is not told, so nobody is woken for it before the next repeat.
    return max(episode.told_ms + lasts.repeat_ms, over_ms or 0)
