"""The shape that all alert rules share: told once, repeated, resolved once, in that order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.alerts.desk import Desk, News
from headgate.alerts.episode import Episode, Lasts, Turn, follow
from headgate.alerts.words import clock, from_to, many, sentence, span
from headgate.model.alert import Alert

LASTS = Lasts(after_ms=60_000, calm_ms=300_000, repeat_ms=14_400_000)
AT_ONCE = Lasts()
DAY_MS = 86_400_000


class Rule:
    """One rule on one episode, and what it has told."""

    def __init__(self, lasts: Lasts = LASTS) -> None:
        self.lasts = lasts
        self.episodes: dict[str, Episode] = {}

    def see(self, level: int, now_ms: int) -> list[Turn]:
        return [step.turn for step in follow(self.episodes, "k", level, self.lasts, now_ms)]

    @property
    def due_ms(self) -> int | None:
        return self.episodes["k"].due_ms if self.episodes else None


def test_it_is_told_once_it_has_lasted_long_enough() -> None:
    rule = Rule()
    assert rule.see(1, 0) == []
    assert rule.due_ms == 60_000
    assert rule.see(1, 59_999) == []
    assert rule.see(1, 60_000) == ["told"]
    assert rule.see(1, 60_001) == []


def test_what_ends_before_it_was_told_is_never_told() -> None:
    rule = Rule()
    rule.see(1, 0)
    assert rule.see(0, 30_000) == []
    assert (rule.episodes, rule.due_ms) == ({}, None)
    assert rule.see(1, 70_000) == []  # it begins anew
    assert rule.due_ms == 130_000


def test_what_lasts_is_told_again_every_four_hours() -> None:
    rule = Rule(Lasts(repeat_ms=14_400_000))
    assert rule.see(1, 0) == ["told"]
    assert rule.due_ms == 14_400_000
    assert rule.see(1, 14_399_999) == []
    assert rule.see(1, 14_400_000) == ["still"]
    assert rule.due_ms == 28_800_000


def test_it_is_over_when_it_has_been_calm_for_long_enough() -> None:
    rule = Rule(Lasts(calm_ms=300_000))
    rule.see(1, 0)
    assert rule.see(0, 1_000) == []
    assert rule.due_ms == 301_000
    assert rule.see(1, 200_000) == []  # it came back: nothing was over
    assert rule.see(0, 400_000) == []
    assert rule.see(0, 699_999) == []
    assert rule.see(0, 700_000) == ["over"]
    assert rule.due_ms is None


def test_what_has_fallen_to_a_lower_level_is_told_again_like_others() -> None:
    rule = Rule(Lasts(calm_ms=300_000, repeat_ms=14_400_000))
    rule.see(100, 0)
    rule.see(80, 60_000)
    # Nobody is woken to see that it has calmed down to that level.
    assert rule.due_ms == 14_400_000
    assert rule.see(80, 14_400_000) == ["still"]
    assert rule.episodes["k"].level == 80
    assert rule.due_ms == 28_800_000
    # It fell just before it was to be told again: when it is known to what.
    assert rule.see(100, 28_700_000) == ["higher"]
    assert rule.see(80, 43_000_000) == []
    assert rule.due_ms == 43_300_000
    assert rule.see(80, 43_300_000) == ["still"]


def test_a_fall_wakes_nobody_where_what_lasts_is_not_told_again() -> None:
    rule = Rule(Lasts(calm_ms=300_000))
    rule.see(100, 0)
    rule.see(80, 60_000)
    assert rule.due_ms is None


def test_a_rise_is_told_at_once_and_a_fall_is_not() -> None:
    rule = Rule(Lasts(calm_ms=300_000))
    assert [rule.see(level, at) for level, at in [(80, 0), (100, 1), (90, 2)]] == [
        ["told"],
        ["higher"],
        [],
    ]
    assert rule.see(90, 300_002) == []
    assert rule.see(100, 300_003) == ["higher"]  # after the fall to 90 it is another crossing


def test_a_crossing_after_a_long_silence_ends_the_earlier_one_first() -> None:
    rule = Rule(Lasts(calm_ms=300_000))
    rule.see(80, 0)
    rule.see(0, 1)
    assert rule.see(80, 10_000_000) == ["over", "told"]


def test_a_rule_that_asks_for_no_time_begins_and_ends_at_once() -> None:
    rule = Rule(AT_ONCE)
    assert (rule.see(1, 5), rule.see(0, 5)) == (["told"], ["over"])


class Outbox:
    """A record as a desk needs it."""

    def __init__(self) -> None:
        self.incarnation = 3
        self.alerts: list[Alert] = []
        self.alerts_lost = 0
        self.alert_sequence = 0
        self.episodes: dict[str, Episode] = {}


def told_by_a_desk(
    steps: list[tuple[int, int]], lasts: Lasts, wake: bool
) -> tuple[Outbox, list[int]]:
    """Play (pause, level) steps; with ``wake`` also at every deadline between two steps."""
    record = Outbox()
    desk = Desk(record, "tenant/acme", "acme")
    now_ms, level, deadlines = 0, 0, []

    def see() -> None:
        desk.follow(
            "quota.threshold",
            level,
            lasts,
            now_ms,
            lambda turn, one: News("quota.threshold", "warning", turn, str(one.level)),
        )

    for pause_ms, next_level in steps:
        end_ms = now_ms + pause_ms
        while wake and (at_ms := desk.next_deadline()) is not None and at_ms < end_ms:
            assert at_ms > now_ms, "nothing is left undone"
            now_ms = at_ms
            deadlines.append(at_ms)
            see()
        now_ms, level = end_ms, next_level
        see()
    return record, deadlines


STEPS = st.lists(
    st.tuples(st.integers(0, 20_000_000), st.sampled_from([0, 0, 80, 90, 100])), max_size=30
)
MANNERS = st.builds(
    Lasts,
    after_ms=st.sampled_from([0, 60_000]),
    calm_ms=st.sampled_from([0, 300_000]),
    repeat_ms=st.sampled_from([None, 14_400_000]),
)


@settings(max_examples=300, deadline=None)
@given(STEPS, MANNERS, st.booleans())
def test_resolved_follows_firing_and_no_crossing_is_told_twice(
    steps: list[tuple[int, int]], lasts: Lasts, wake: bool
) -> None:
    record, deadlines = told_by_a_desk(steps, lasts, wake)
    is_open, level, told_ms = False, 0, 0
    for alert in record.alerts:
        assert alert.key == "quota.threshold/tenant/acme"
        match alert.title.removeprefix("Still: "):
            case "told":
                assert not is_open, "one alert for one crossing"
                is_open, level = True, int(alert.text)
            case "higher":
                assert is_open
                level = int(alert.text)
            case "still":
                assert is_open
                assert lasts.repeat_ms is not None
                assert alert.at_ms - told_ms >= lasts.repeat_ms
            case "over":
                assert is_open, "nothing is resolved that was not told"
                assert alert.status == "resolved"
                is_open, level = False, 0
        assert (alert.status == "resolved") == (alert.title == "over")
        told_ms = alert.at_ms
    assert level >= 0
    ids = [alert.id for alert in record.alerts]
    assert len(set(ids)) == len(ids)
    assert [alert.at_ms for alert in record.alerts] == sorted(a.at_ms for a in record.alerts)
    assert deadlines == sorted(set(deadlines)), "a deadline is met once"


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_an_episode_that_is_woken_tells_at_its_deadlines_what_it_else_tells_later(
    steps: list[tuple[int, int]],
) -> None:
    lasts = Lasts(calm_ms=300_000)
    woken, _ = told_by_a_desk([*steps, (10_000_000, 0)], lasts, wake=True)
    asleep, _ = told_by_a_desk([*steps, (10_000_000, 0)], lasts, wake=False)
    assert [alert.title for alert in woken.alerts] == [alert.title for alert in asleep.alerts]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0 ms"),
        (800, "800 ms"),
        (1_499, "1 s"),
        (1_500, "2 s"),
        (9_900, "10 s"),
        (59_600, "1 min"),
        (3_581_000, "1 h"),
        (9 * DAY_MS + 86_000_000, "10 d"),
        (60_000, "1 min"),
        (90_000, "1 min 30 s"),
        (12 * 60_000 + 5_000, "12 min"),
        (5_400_000, "1 h 30 min"),
        (86_400_000 + 300_000, "1 d"),
        (3 * 86_400_000 + 4 * 3_600_000, "3 d 4 h"),
    ],
)
def test_a_duration_is_written_as_people_say_it(ms: int, text: str) -> None:
    assert span(ms) == text


def test_a_time_is_that_of_the_zone_and_has_a_date_when_it_is_not_today() -> None:
    noon = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
    assert clock(noon, noon) == "22:13 UTC"
    assert clock(noon, noon, "Europe/Berlin") == "23:13 Europe/Berlin"
    assert clock(noon + 7_200_000, noon) == "00:13 on Wed 15 Nov UTC"


def test_one_of_a_thing_is_not_many() -> None:
    assert (many(1, "job"), many(0, "job"), many(2, "box", "boxes")) == (
        "1 job",
        "0 jobs",
        "2 boxes",
    )


def test_what_is_over_is_kept_when_the_notifier_gives_up_for_a_week() -> None:
    record = Outbox()
    desk = Desk(record, "tenant/acme", "acme")
    news = News("quota.threshold", "warning", "", "")
    desk.tell(news, 0, key="k")
    desk.tell(news, 1, key="k", status="resolved")
    desk.tell(news, 2, key="k")
    begun, over, still = record.alerts
    desk.undeliverable(record.alerts[:2], "it failed", 3 * DAY_MS)
    summary = record.alerts[0]
    assert record.alerts == [summary, over, still]
    assert (summary.kind, summary.data["count"], record.alerts_lost) == ("alerts.collapsed", 1, 1)
    assert begun not in record.alerts
    desk.undeliverable([over], "it failed", 6 * DAY_MS)
    assert record.alerts == [summary, over, still], "nothing to sum up"
    desk.undeliverable(record.alerts, "it failed", 7 * DAY_MS + 1)
    assert [one.kind for one in record.alerts] == ["alerts.collapsed"]
    assert (record.alerts[0].data["count"], record.alerts_lost) == (3, 3)


def test_a_workflow_that_was_set_back_gives_no_id_again() -> None:
    record = Outbox()
    desk = Desk(record, "tenant/acme", "acme")
    news = News("quota.threshold", "warning", "", "")
    ids: list[str] = []
    # Three times from the same point, where one alert had been told.
    for seed in (None, 7_234_567_891_234_567, 7_234_567_891_234_568):
        record.alerts, record.alert_sequence = [], 1
        if seed is not None:
            desk.number_anew(seed)
        for at_ms in range(3):
            desk.tell(news, at_ms)
        ids += [one.id for one in record.alerts]
    assert len(ids) == len({*ids}) == 9
    assert all(one.startswith("tenant/acme:3:") for one in ids)


def test_what_begins_and_ends_in_the_same_minute_is_written_with_seconds() -> None:
    assert from_to(0, 59_999, DAY_MS // 2) == "from 00:00:00 UTC to 00:00:59 UTC"
    assert from_to(0, 60_000, DAY_MS // 2) == "from 00:00 UTC to 00:01 UTC"


def test_a_sentence_has_one_full_stop() -> None:
    said = ["a", "a.", "a!", "Server disconnected without sending a response."]
    assert [sentence(one) for one in said] == ["a.", "a.", "a!", said[3]]
