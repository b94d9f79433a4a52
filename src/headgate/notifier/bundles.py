"""Which alerts about one subject are told in one message, because they wait together.

What was over before it could be told calls nobody any more, and of several words about the same the
last one says how it is now. A pure function of what waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headgate.model.alert import Alert


@dataclass(frozen=True, slots=True)
class Waiting:
    """An alert that a channel has not been told of.

    Attributes:
        alert: The alert.
        waited_ms: How long it has been waiting.
    """

    alert: Alert
    waited_ms: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """Alerts about one subject that are told in one message.

    Attributes:
        alerts: In the order they came; the last one says how it is now.
        waited_ms: How long the first has been waiting.
    """

    alerts: list[Alert]
    waited_ms: int

    @property
    def last(self) -> Alert:
        """Return what says how it is now."""
        return self.alerts[-1]


def bundled(waiting: Sequence[Waiting]) -> list[Bundle]:
    """Return what waits by what is told in one message, in the order of the last of each.

    Alerts about the same subject keep their order.
    """
    places: dict[str, list[int]] = {}
    for place, one in enumerate(waiting):
        places.setdefault(one.alert.subject, []).append(place)
    found: list[tuple[int, Bundle]] = []
    for of_subject in places.values():
        alerts = [waiting[place].alert for place in of_subject]
        begin = 0
        for some in together(alerts):
            end = begin + len(some)
            found.append((of_subject[end - 1], Bundle(some, waiting[of_subject[begin]].waited_ms)))
            begin = end
    return [bundle for _, bundle in sorted(found, key=lambda one: one[0])]


def together(alerts: Sequence[Alert]) -> list[list[Alert]]:
    """Return alerts about one subject by what is told in one message, in order.

    That is what begins, with all that comes until it is over and nothing else is left open; else
    alerts about the same that follow on each other.
    """
    found: list[list[Alert]] = []
    begin = 0
    while begin < len(alerts):
        end = _over_by(alerts, begin) or _same_until(alerts, begin)
        found.append([*alerts[begin:end]])
        begin = end
    return found


def overtaken(told: Sequence[Alert], later: Sequence[Alert]) -> list[list[Alert]]:
    """Return what is over by alerts that wait: each with all that came until it was over.

    Args:
        told: What a message tells of that has not been taken.
        later: What waits about the same subjects, in order.
    """
    known, found = {one.id for one in told}, []
    for subject in dict.fromkeys(one.subject for one in told):
        about = [one for one in (*told, *later) if one.subject == subject]
        for some in together(about):
            is_over = some[-1].status == "resolved" and some[-1].id not in known
            if is_over and some[0].id in known:
                found.append(some)
    return found


def _over_by(alerts: Sequence[Alert], begin: int) -> int | None:
    """Return up to where all is over that has begun since ``begin``; None: it is not."""
    still: set[str] = set()
    for place in range(begin, len(alerts)):
        alert = alerts[place]
        if not alert.key:
            return None  # it stands alone, and is told for itself
        if alert.status == "firing":
            still.add(alert.key)
        else:
            still.discard(alert.key)
        if not still:
            return place + 1
    return None


def _same_until(alerts: Sequence[Alert], begin: int) -> int:
    """Return up to where alerts are about the same, and say that it lasts."""
    end = begin + 1
    if not alerts[begin].key:
        return end
    while end < len(alerts) and (alerts[end].key, alerts[end].status) == (
        alerts[begin].key,
        "firing",
    ):
        end += 1
    return end
