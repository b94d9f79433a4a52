"""Whether a workflow can save its state and deliver its alerts: the rules that all of them share.

They need no timers. That alerts are not delivered cannot be told before they are again. A save is
tried until it lags, and looked at then, also when the workflow is at rest; as long as saves succeed
there is no event for that.
"""

from headgate.alerts.desk import NOTIFIER_FAILING, SNAPSHOT_LAG, Desk, News
from headgate.alerts.episode import Episode
from headgate.alerts.words import clock, from_to, many, span
from headgate.model.alert_rules import AlertRules


class House:
    """Watches the saving and the telling of one workflow.

    Args:
        desk: Where to tell of it.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lag = f"{SNAPSHOT_LAG}/{desk.subject}"
        self._failing = f"{NOTIFIER_FAILING}/{desk.subject}"

    def saving(self, rules: AlertRules | None, now_ms: int) -> None:
        """Note that a snapshot is on its way."""
        if rules is not None and self._lag not in self._desk.episodes:
            self._desk.begin(self._lag, Episode(now_ms))

    def saved(self, now_ms: int) -> None:
        """Note that a snapshot has arrived; also that one was restored."""
        episode = self._desk.end(self._lag)
        if episode is not None and episode.is_told:
            news = News(
                SNAPSHOT_LAG,
                "info",
                f"{self._desk.subject}: saved again",
                "Postgres and the dashboard have its state again.",
            )
            self._desk.say("over", episode, self._lag, news, now_ms)

    def telling(self, rules: AlertRules | None, now_ms: int) -> None:
        """Note that alerts are on their way."""
        if rules is not None and self._failing not in self._desk.episodes:
            self._desk.begin(self._failing, Episode(now_ms))

    def told(self, rules: AlertRules | None, count: int, now_ms: int) -> None:
        """Note that alerts have been delivered; tell of it when that took long.

        Args:
            rules: In force.
            count: How many were delivered.
            now_ms: Unix time.
        """
        episode = self._desk.end(self._failing)
        if episode is None or rules is None or rules.notifier_ms is None:
            return
        took_ms = now_ms - episode.since_ms
        if took_ms < rules.notifier_ms:
            return
        self._desk.tell(
            News(
                NOTIFIER_FAILING,
                "warning",
                f"{self._desk.subject}: no alert was delivered for {span(took_ms)}",
                f"F{from_to(episode.since_ms, now_ms, now_ms)[1:]} no alert of "
                f"{self._desk.subject} could be delivered; {many(count, 'alert')} came late.",
                "The Temporal UI shows why the activity headgate.notify failed; what is shown here "
                "works again.",
                {"for_ms": took_ms, "alerts": count},
            ),
            now_ms,
            since_ms=episode.since_ms,
        )

    def look(self, rules: AlertRules | None, now_ms: int) -> None:
        """Tell of a snapshot that does not arrive, and note that alerts are not delivered."""
        if rules is None:
            return
        failing = self._desk.episodes.get(self._failing)
        if (
            failing is not None
            and not failing.is_told
            and rules.notifier_ms is not None
            and now_ms - failing.since_ms >= rules.notifier_ms
        ):
            failing.told_ms = now_ms  # shown from now on, and told of when there is a way to
        lag = self._desk.episodes.get(self._lag)
        if lag is None or rules.snapshot_lag_ms is None:
            return
        if not lag.is_told and now_ms - lag.since_ms >= rules.snapshot_lag_ms:
            lag.told_ms = now_ms
            self._desk.say("told", lag, self._lag, self._lag_news(lag, now_ms), now_ms)
        elif (
            lag.told_ms is not None
            and rules.repeat_ms is not None
            and now_ms - lag.told_ms >= rules.repeat_ms
        ):
            lag.told_ms = now_ms
            self._desk.say("still", lag, self._lag, self._lag_news(lag, now_ms), now_ms)

    def _lag_news(self, lag: Episode, now_ms: int) -> News:
        return News(
            SNAPSHOT_LAG,
            "warning",
            f"{self._desk.subject}: not saved for {span(now_ms - lag.since_ms)}",
            f"Since {clock(lag.since_ms, now_ms)} its state has not reached Postgres. It goes on "
            "deciding and keeps what it could not save, but the dashboard shows old numbers.",
            "See whether Postgres is up and has room: headgate migrate says what it finds. The "
            "Temporal UI shows why the activity headgate.save_snapshot failed.",
            {"for_ms": now_ms - lag.since_ms},
        )
