"""What waits becomes messages: one by one, in groups, or a summary; nothing is left out."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.model.alert import Alert
from headgate.model.channels import SlackChannel
from headgate.model.notifier import NotifierSettings
from headgate.notifier.bundles import Waiting
from headgate.notifier.composing import compose
from headgate.notifier.outgoing import Outgoing
from headgate.notifier.pagerduty import events
from headgate.notifier.webhook import envelope
from tests.notifier.site import alert, crossing

NOON = 1_800_000_000_000
CHANNEL = SlackChannel(kind="slack", url="https://hooks.example/x")
SETTINGS = NotifierSettings()
TOPIC = "quota.threshold/firing"


def composed(
    alerts: Sequence[Alert],
    waited_ms: int = 5_000,
    budget: int = 20,
    since_group_ms: dict[str, int] | None = None,
    channel: SlackChannel = CHANNEL,
) -> list[Outgoing]:
    waiting = [Waiting(one, waited_ms) for one in alerts]
    return compose(waiting, "ops", channel, SETTINGS, budget, since_group_ms or {})


def test_what_is_about_no_tenant_is_told_at_once_and_one_by_one() -> None:
    alerts = [alert(n) for n in range(8)]
    messages = composed(alerts, waited_ms=0)
    assert [message.id for message in messages] == [one.id for one in alerts]
    assert {message.form for message in messages} == {"alert"}


def test_alerts_about_tenants_wait_a_little_for_others() -> None:
    few = [crossing(f"t{n}") for n in range(5)]
    assert composed(few, waited_ms=4_999) == []
    assert [message.id for message in composed(few)] == [one.id for one in few]


def test_many_tenants_are_one_message_that_names_them() -> None:
    many = [crossing(f"t{n}", 100 if n == 7 else 80) for n in range(30)]
    (message,) = composed(many)
    assert (message.form, len(message.alerts)) == ("group", 30)
    assert message.lead.title == "30 tenants: near or at their quota"
    assert message.lead.severity == "critical"
    lines = message.lead.text.splitlines()
    assert "t7:" in lines[0]  # the gravest first
    assert lines[-1] == "- and 10 more: headgate alerts list -n 30"
    assert message.lead.advice == "Raise its max_active, or wait."
    assert message.id.startswith("group:")


def test_a_group_has_the_same_id_for_the_same_alerts_and_another_for_others() -> None:
    many = [crossing(f"t{n}") for n in range(30)]
    ids = {composed(alerts)[0].id for alerts in (many, many, many[:-1])}
    assert len(ids) == 2


def test_after_a_group_the_next_one_waits() -> None:
    one = [crossing("t1")]
    assert composed(one, since_group_ms={TOPIC: 59_999}) == []
    assert len(composed(one, since_group_ms={TOPIC: 60_000})) == 1
    assert len(composed([alert(1)], since_group_ms={TOPIC: 1})) == 1


def test_what_is_about_the_same_keeps_its_order() -> None:
    fires = crossing("t1")
    other = fires.model_copy(update={"id": "other", "kind": "quota.denied", "key": "denied/t1"})
    # The first may not be told yet, so the second waits too, although nothing holds it.
    assert composed([fires, other], since_group_ms={TOPIC: 1}) == []
    assert [message.id for message in composed([fires, other])] == [fires.id]
    assert [message.id for message in composed([other])] == [other.id]


def test_what_is_over_before_it_was_told_is_one_message_that_says_both() -> None:
    opened = alert(1, key="k", at_ms=NOON)
    long = alert(1, id="long", kind="breaker.half_open_long", key="h", at_ms=NOON + 60_000)
    over = {"status": "resolved", "severity": "info", "text": "It lasted 2 min."}
    no_longer = long.model_copy(update={"id": "no-longer", **over})
    closed = alert(1, id="closed", key="k", title="scanner: closed", at_ms=NOON + 1, **over)
    (message,) = composed([opened, long, no_longer, closed])
    assert (message.form, message.id, message.lead.status) == ("alert", "closed", "resolved")
    assert message.lead.text.splitlines() == [
        "It lasted 2 min.",
        "It was over before it could be told here. What there was:",
        "- 2027-01-15 08:00:00 UTC: scanner-1 is cut off. 5 calls in a row failed",
        "- 2027-01-15 08:01:00 UTC: scanner-1 is cut off. 5 calls in a row failed",
        "- 2027-01-15 08:01:00 UTC: scanner-1 is cut off. It lasted 2 min.",
    ]
    assert message.alerts == [opened, long, no_longer, closed]
    assert [event["event_action"] for event in events(message)] == ["resolve"]
    # What is not over, or stands alone, is told for itself.
    alone = alert(1, id="alone")
    told = [one.id for one in composed([opened, long, closed])]
    assert told == [opened.id, "long", "closed"]
    assert [one.id for one in composed([opened, alone, closed])] == [opened.id, "alone", "closed"]


def test_of_what_lasts_the_last_word_is_told_with_those_before() -> None:
    words = [crossing("t1", level, sequence=n) for n, level in enumerate((80, 90, 100))]
    (message,) = composed(words)
    assert (message.id, message.lead.title) == (words[2].id, words[2].title)
    assert message.lead.text.count("of 100 scan are held") == 3
    assert message.alerts == words


def test_many_tenants_whose_alerts_were_over_are_one_message() -> None:
    both = [
        crossing(f"t{n}", status=status, sequence=sequence)
        for sequence, status in enumerate(("firing", "resolved"))
        for n in range(8)
    ]
    (message,) = composed(both)
    assert (message.form, message.lead.status) == ("group", "resolved")
    assert message.lead.title == "8 tenants: no longer near their quota"
    assert {one.id for one in message.alerts} == {one.id for one in both}


def test_a_storm_is_bounded_and_what_exceeds_is_in_a_summary() -> None:
    alerts = [alert(n, severity="info" if n < 40 else "critical") for n in range(50)]
    messages = composed(alerts, budget=4)
    assert [message.form for message in messages] == ["alert"] * 3 + ["summary"]
    assert [one.id for one in messages[-1].alerts] == [one.id for one in alerts[3:]]
    assert messages[-1].lead.title == "47 more alerts"
    assert "than ops takes in a minute (20)" in messages[-1].lead.text
    assert "scanner-40" in messages[-1].lead.text.splitlines()[1]
    assert composed(alerts, budget=0) == []


def test_a_summary_says_how_things_are_now() -> None:
    """Of several about the same the last one counts: nobody is called for what is over."""
    opened = [
        alert(n).model_copy(update={"key": f"breaker.opened/downstream/scanner-{n}"})
        for n in range(3)
    ]
    over = [
        one.model_copy(update={"id": f"{one.id}-over", "status": "resolved", "severity": "info"})
        for one in opened
    ]
    (message,) = composed([*opened, *over], budget=1)
    assert (message.lead.status, message.lead.severity) == ("resolved", "info")
    assert (message.lead.title, message.lead.data["alerts"]) == ("3 more alerts", 3)
    assert [event["event_action"] for event in events(message)] == ["resolve"]
    assert len(message.alerts) == 6
    (message,) = composed([*opened, *over[1:]], budget=1)
    assert (message.lead.status, message.lead.severity) == ("firing", "critical")
    assert message.lead.text.splitlines()[1:] == [
        "- scanner-0 is cut off",
        "- scanner-1 is cut off (resolved)",
        "- scanner-2 is cut off (resolved)",
    ]


def test_what_is_over_says_how_long_it_lasted_and_is_over_once() -> None:
    over = [
        crossing(f"t{n}", status="resolved").model_copy(update={"data": {"lasted_ms": n * 60_000}})
        for n in range(8)
    ]
    (message,) = composed(over)
    assert message.lead.title == "8 tenants: no longer near their quota"
    lines = message.lead.text.splitlines()
    assert lines[7] == "- t7: below 80 % of scan in use (after 7 min)"
    fires = [alert(n) for n in range(3)]
    (mixed,) = composed([*fires, over[2]], budget=1)
    assert mixed.lead.text.splitlines()[-1].endswith("in use (resolved, after 2 min)")
    told = envelope(message)["data"]["alerts"]
    assert told[3]["text"] == over[3].text


def test_templates_write_title_and_text() -> None:
    channel = CHANNEL.model_copy(
        update={"title": "[$severity] $tenant: $title", "text": "$text ($$ $count, since $since)"}
    )
    (message,) = composed([crossing("acme")], channel=channel)
    assert message.lead.title == "[warning] acme: acme:  80 % of scan in use"
    assert message.lead.text == "80 of 100 scan are held ($ 1, since 2027-01-15 08:00:00 UTC)"
    assert message.alerts == [crossing("acme")]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b", "c", "d", "e", "f", "g", "h"]),
            st.sampled_from(["firing", "resolved"]),
            st.integers(0, 9_000),
        ),
        max_size=40,
    ),
    st.integers(0, 6),
    st.sampled_from([0, 30_000, 90_000]),
)
def test_each_alert_is_told_once_and_in_order(
    happened: list[tuple[str, str, int]], budget: int, since_ms: int
) -> None:
    """Composed again and again, as time passes: the definition of what composing must do."""
    waiting = [
        Waiting(
            crossing(tenant, status=status, sequence=number)
            if tenant
            else alert(number, subject="downstream/scanner"),
            waited_ms,
        )
        for number, (tenant, status, waited_ms) in enumerate(happened)
    ]
    groups = {TOPIC: since_ms}
    told: list[Alert] = []
    rounds = 0
    while waiting:
        rounds += 1
        assert rounds < 200
        messages = compose(waiting, "ops", CHANNEL, SETTINGS, budget if rounds > 1 else 3, groups)
        assert len(messages) <= (budget if rounds > 1 else 3)
        now_told = [one for message in messages for one in message.alerts]
        told += now_told
        gone = {one.id for one in now_told}
        waiting = [
            Waiting(one.alert, one.waited_ms + 30_000)
            for one in waiting
            if one.alert.id not in gone
        ]
        groups = {topic: ms + 30_000 for topic, ms in groups.items()}
        groups |= {message.topic: 0 for message in messages if message.form == "group"}
        budget = max(1, budget)
    ids = [one.id for one in told]
    assert len(ids) == len({*ids}) == len(happened)
    for subject in {one.subject for one in told}:
        numbers = [
            int(one.id.split(":")[-2]) for one in told if one.subject == subject and one.tenant
        ]
        assert numbers == sorted(numbers)
        if subject == "downstream/scanner":
            order = [one.at_ms for one in told if one.subject == subject]
            assert order == sorted(order)
