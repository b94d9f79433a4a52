"""Many alerts at once, routes, tenants' own channels, silences: over a real Postgres."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from headgate.model.alert_rules import AlertRules
from headgate.model.pool import Strategy
from headgate.model.quota import Quota
from headgate.model.silence import Silence
from headgate.notifier.notifier import Notifier
from headgate.store.alerts import AlertStore
from headgate.store.silences import SilenceStore
from headgate.store.untold import UntoldStore
from tests.notifier.site import Endpoint, Site, alert, crossing, webhook
from tests.unit.pools import PoolOfLedgers

NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


async def test_500_tenants_in_a_minute_make_a_handful_of_messages(desk: Site) -> None:
    endpoint = Endpoint()
    channels = {"ops": webhook(await desk.serve(endpoint.app()))}
    await desk.apply(channels=channels, group_wait_ms=5_000)
    # A minute in twelve steps; several governance workers, each told of some tenants.
    others = [await desk.another() for _ in range(3)]
    alerts = [crossing(f"t{n:03}") for n in range(500)]
    for step in range(12):
        share = alerts[step::12]
        await asyncio.gather(
            *(other.take([one]) for one, other in zip(share, others * 20, strict=False))
        )
        await desk.after(5)
    for _ in range(14):
        await desk.after(5)
    assert 2 <= len(endpoint.requests) <= 5
    told = [one["id"] for event in endpoint.bodies for one in event["data"].get("alerts", [])]
    assert sorted(told) == sorted(one.id for one in alerts)
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    assert len({*endpoint.ids}) == len(endpoint.requests)


async def test_500_tenants_of_one_pool_make_a_handful_of_messages(desk: Site) -> None:
    """All told by one workflow, whose outbox holds 200: what it left out is counted."""
    tenants = [f"t{n:03}" for n in range(500)]
    shares = {"hog": Quota(guaranteed=0), **{name: Quota(guaranteed=1) for name in tenants}}
    rules = AlertRules(guarantee_ms=1_000)
    pool = PoolOfLedgers(500, shares, alerts=rules, strategy=Strategy.RESERVED)
    pool.ask("hog", 500)
    pool.wait(1_000)
    for name in tenants:
        pool.ask(name, 1)
    pool.wait(2_500)
    alerts = pool.governor.record.alerts
    (left_out,) = [one for one in alerts if one.kind == "alerts.collapsed"]
    told = [one for one in alerts if one.kind == "guarantee.unmet"]
    assert len(told) + int(left_out.data["count"] or 0) == 500
    assert left_out.tenant is None
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(*alerts)
    assert [event["data"]["form"] for event in endpoint.bodies] == ["group", "alert"]
    assert endpoint.bodies[0]["data"]["title"].startswith(f"{len(told)} tenants: ")
    assert {*(await desk.states("ops")).values()} == {"delivered"}


async def test_what_a_group_told_of_is_found_by_its_id(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(*(crossing(f"t{n}") for n in range(8)), alert(1))
    await desk.tell(*(crossing(f"later-{n}", sequence=2) for n in range(2)))
    (group,) = (id for id in endpoint.ids if id.startswith("group:"))
    found = await AlertStore(desk.database).recent(100, search=group)
    assert sorted(one.alert.tenant or "" for one in found) == [f"t{n}" for n in range(8)]


async def test_a_storm_is_bounded_and_each_alert_recorded_as_told(desk: Site) -> None:
    endpoint = Endpoint()
    channel = webhook(await desk.serve(endpoint.app()), max_per_minute=3)
    await desk.apply(channels={"ops": channel})
    await desk.tell(*(alert(n) for n in range(100)))
    await desk.tell(*(alert(n) for n in range(100, 200)))
    assert len(endpoint.requests) == 3
    await desk.after(61)
    assert len(endpoint.requests) == 6
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    assert len(await desk.states("ops")) == 200
    assert endpoint.bodies[2]["data"]["form"] == "summary"


async def test_a_channel_that_was_down_is_not_flooded_when_it_is_back(desk: Site) -> None:
    endpoint = Endpoint(answers=[503])
    channel = webhook(await desk.serve(endpoint.app()), max_per_minute=5)
    await desk.apply(channels={"ops": channel})
    await desk.tell(alert(0))
    for n in range(1, 60):
        await desk.notifier.take([alert(n)])
    await desk.after(3_600)
    assert len(endpoint.requests) <= 1 + 1 + 5
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    endpoint.require_one_content_for_each_id()


async def test_what_was_refused_comes_no_faster_when_it_is_taken_at_last(desk: Site) -> None:
    endpoint = Endpoint(answers=[422] * 15)
    channel = webhook(await desk.serve(endpoint.app()), max_per_minute=5)
    await desk.apply(channels={"ops": channel})
    for n in range(3):
        await desk.tell(*(alert(5 * n + m) for m in range(5)))
        await desk.database.execute("UPDATE alert_message SET due_at = now() + interval '1 h'")
        await desk.database.execute("UPDATE alert_attempt SET at = at - interval '61 s'")
    assert len(endpoint.requests) == 15
    endpoint.requests.clear()
    await desk.try_again()
    assert len(endpoint.requests) == 5
    await desk.after(61)
    await desk.after(61)
    assert len({*endpoint.ids}) == len(endpoint.ids) == 15
    assert {*(await desk.states("ops")).values()} == {"delivered"}


async def test_thousands_of_tenants_do_not_stand_before_what_is_about_none(desk: Site) -> None:
    await desk.channels(ops="http://127.0.0.1:9")
    await desk.notifier.take([*(crossing(f"t{n}") for n in range(5)), alert(1), crossing("last")])
    first = await UntoldStore(desk.database).waiting("ops", 3)
    told = [crossing("t0").id, crossing("t1").id, alert(1).id]
    assert [one.alert.id for one in first] == told, "in the order they came"


async def test_workers_that_deliver_at_once_do_not_tell_twice(desk: Site) -> None:
    endpoint = Endpoint()
    channel = webhook(await desk.serve(endpoint.app()), max_per_minute=500)
    await desk.apply(channels={"ops": channel})
    workers = [desk.notifier, *[await desk.another() for _ in range(4)]]
    alerts = [alert(n) for n in range(60)]

    async def work(worker: Notifier, share: list[Any]) -> None:
        for one in share:
            await worker.take([one])
            await worker.work()

    await asyncio.gather(*(work(worker, alerts[n::5]) for n, worker in enumerate(workers)))
    await desk.notifier.work()
    assert sorted(endpoint.ids) == sorted(one.id for one in alerts)


async def test_what_a_worker_that_died_had_claimed_is_delivered_by_another(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.notifier.take([alert(1)])
    await desk.database.execute(
        "INSERT INTO channel (name, fingerprint, claimed_by, claimed_until) "
        "VALUES ('ops', '', 'dead', now() + interval '35 s')"
    )
    await desk.notifier.work()
    assert endpoint.requests == []
    await desk.database.execute("UPDATE channel SET claimed_until = now() - interval '1 s'")
    await desk.notifier.work()
    assert endpoint.ids == [alert(1).id]


async def test_routes_go_by_kind_severity_and_tenant(desk: Site) -> None:
    ends = {name: Endpoint() for name in ("pager", "chat", "sales", "rest")}
    channels = {name: webhook(await desk.serve(end.app())) for name, end in ends.items()}
    await desk.apply(
        channels=channels,
        routes=[
            {"kinds": ["breaker.*"], "severities": ["critical"], "channels": ["pager", "chat"]},
            {"kinds": ["breaker.*"], "channels": ["chat"]},
            {"tenants": ["big-*"], "channels": ["sales"]},
        ],
        default=["rest"],
    )
    await desk.tell(
        alert(1),
        alert(2, severity="info"),
        crossing("big-acme"),
        crossing("small"),
        alert(3, kind="pool.full"),
    )
    told = {name: [event["subject"] for event in end.bodies] for name, end in ends.items()}
    assert told == {
        "pager": ["downstream/scanner-1"],
        "chat": ["downstream/scanner-1", "downstream/scanner-2"],
        "sales": ["tenant/big-acme/scan"],
        "rest": ["tenant/small/scan", "downstream/scanner-3"],
    }


async def test_what_is_over_is_told_wherever_it_was_told_that_it_began(desk: Site) -> None:
    ends = {name: Endpoint() for name in ("pager", "rest")}
    await desk.apply(
        channels={name: webhook(await desk.serve(end.app())) for name, end in ends.items()},
        routes=[{"severities": ["critical"], "channels": ["pager"]}],
        default=["rest"],
    )
    key = "breaker.opened/downstream/scanner-1"
    over = alert(2, kind="breaker.recovered", severity="info").model_copy(
        update={"key": key, "status": "resolved"}
    )
    await desk.tell(alert(1).model_copy(update={"key": key}))
    await desk.tell(over)
    await desk.tell(over.model_copy(update={"id": "later", "title": "over, and nothing had begun"}))
    assert ends["pager"].ids == [alert(1).id, over.id]
    # Who has not heard that it began is not told that it is over; nobody knows how "later" began.
    assert ends["rest"].ids == ["later"]


async def test_where_the_channel_was_renamed_the_routes_say_where_the_end_is_told(
    desk: Site,
) -> None:
    endpoint = Endpoint()
    url = await desk.serve(endpoint.app())
    await desk.channels(old=url)
    await desk.tell(crossing("acme"))
    await desk.channels(new=url)
    await desk.notifier.work()
    over = crossing("acme", status="resolved", sequence=2)
    await desk.tell(over)
    assert endpoint.ids == [crossing("acme").id, over.id]
    assert await desk.states("new") == {over.id: "delivered"}


async def test_a_tenant_hears_of_itself_only(desk: Site) -> None:
    own, ops = Endpoint(), Endpoint()
    await desk.apply(
        channels={
            "acme-own": webhook(await desk.serve(own.app()), tenant="acme"),
            "ops": webhook(await desk.serve(ops.app())),
        }
    )
    tenants = ["acme", "globex", *[f"t{n}" for n in range(10)]]
    await desk.tell(alert(1), *(crossing(tenant) for tenant in tenants))
    assert own.ids == [crossing("acme").id]
    assert "globex" not in str(own.bodies)
    assert [event["data"]["form"] for event in ops.bodies] == ["alert", "group"]


@pytest.mark.parametrize(
    ("silence", "silenced"),
    [
        ({"kind": "quota.*"}, ["acme", "globex"]),
        ({"tenant": "acme"}, ["acme"]),
        ({"subject": "tenant/gl*"}, ["globex"]),
        ({"severity": "critical"}, ["scanner-1"]),
        ({"severity": "critical", "tenant": "acme"}, []),
    ],
)
async def test_silences(desk: Site, silence: dict[str, str], silenced: list[str]) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    store = SilenceStore(desk.database)
    held = {"until_ms": NOW_MS + 3_600_000, "actor": "ada", "reason": "moving house"}
    made = Silence.model_validate({"id": "s1", **held, **silence})
    assert await store.add(made, []) and not await store.add(made, [])
    over = {**held, "until_ms": NOW_MS - 1}
    await store.add(Silence.model_validate({"id": "s2", **over}), [])
    assert [one.id for one in await store.in_force()] == ["s1"]
    alerts = [alert(1), crossing("acme"), crossing("globex")]
    await desk.tell(*alerts)
    states = await desk.states("ops")
    assert sorted(id for id, state in states.items() if state == "silenced") == sorted(
        one.id for one in alerts if any(name in one.id for name in silenced)
    )
    assert len(endpoint.requests) == 3 - len(silenced)
    ends = [made.entry("unsilence", "ada", "moved", NOW_MS, f"request-{n}") for n in (1, 2)]
    assert await store.end("s1", ends[0])
    assert await store.end("s1", ends[0]), "the same request asks again"
    assert not await store.end("s1", ends[1])
    await desk.tell(alert(9), crossing("acme", sequence=9))
    assert endpoint.ids[-2:] == [alert(9).id, crossing("acme", sequence=9).id]


async def test_who_was_told_that_it_is_wrong_is_told_that_it_is_over(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(crossing("acme"))
    silence = Silence(id="s", until_ms=NOW_MS + 3_600_000, actor="ada", reason="because")
    await SilenceStore(desk.database).add(silence, [])
    await desk.tell(crossing("globex"), crossing("globex", status="resolved", sequence=2))
    await desk.tell(crossing("acme", sequence=2))  # still so, and silenced
    await desk.tell(crossing("acme", status="resolved", sequence=3))
    assert endpoint.ids == [
        crossing("acme").id,
        crossing("acme", status="resolved", sequence=3).id,
    ]


async def test_who_was_never_told_that_it_began_is_not_told_that_it_is_over(desk: Site) -> None:
    endpoint = Endpoint()
    url = await desk.serve(endpoint.app())
    await desk.channels()
    await desk.tell(crossing("early"))
    await desk.channels(ops=url)
    until = {"until_ms": NOW_MS + 3_600_000, "actor": "ada", "reason": "because"}
    grave = Silence.model_validate({"id": "grave", "severity": "critical", **until})
    await SilenceStore(desk.database).add(grave, [])
    # It begins, silenced, and is over before anybody has looked; its end is not grave.
    await desk.notifier.take([crossing("acme", 100)])
    await desk.tell(
        crossing("acme", status="resolved", sequence=2),
        crossing("early", status="resolved", sequence=2),
        alert(1, severity="info"),
    )
    assert endpoint.ids == [alert(1).id]
    assert (await desk.states("ops"))[crossing("acme", sequence=2).id] == "silenced"
    # That the silence has ended meanwhile changes nothing of that.
    await desk.notifier.take([crossing("acme", 100, sequence=3)])
    await desk.notifier.work()
    await desk.notifier.take([crossing("acme", status="resolved", sequence=4)])
    await desk.database.execute("UPDATE silence SET until = now()")
    await desk.notifier.work()
    assert endpoint.ids == [alert(1).id]


async def test_what_lasts_longer_than_its_silence_is_told_when_that_ends(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    store = SilenceStore(desk.database)
    until = {"until_ms": NOW_MS + 7_200_000, "actor": "ada", "reason": "moving house"}
    made = {id: Silence.model_validate({"id": id, **until}) for id in ("s1", "s2")}
    await store.add(made["s1"], [])
    again = crossing("acme", 100, sequence=2)
    await desk.tell(alert(1), crossing("acme"), again, crossing("over"))
    await desk.tell(crossing("over", status="resolved", sequence=2))
    await store.add(made["s2"].model_copy(update={"tenant": "globex"}), [])
    await desk.tell(crossing("globex"))
    assert endpoint.requests == []
    await store.end("s1", made["s1"].entry("unsilence", "ada", "moved", NOW_MS, "r"))
    await desk.notifier.work()
    # What stands alone has passed, and so has what is over; globex is silenced by another one.
    assert endpoint.ids == [again.id]
    await (await desk.another()).work()
    assert len(endpoint.requests) == 1
    await desk.database.execute("UPDATE silence SET until = now() WHERE id = 's2'")
    await desk.notifier.work()
    assert endpoint.ids[1:] == [crossing("globex").id]
    over = crossing("globex", status="resolved", sequence=2)
    await desk.tell(over)
    assert endpoint.ids[2:] == [over.id]


async def test_what_is_silenced_anew_when_a_silence_ends_stays_silent_until_that_one_does(
    desk: Site,
) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    store = SilenceStore(desk.database)
    for hours, id in enumerate(("first", "second"), 1):
        until_ms = NOW_MS + hours * 3_600_000
        await store.add(Silence(id=id, until_ms=until_ms, actor="ada", reason="because"), [])
    await desk.tell(crossing("acme"))
    for id in ("first", "second"):
        assert endpoint.requests == []
        await desk.database.execute("UPDATE silence SET until = now() WHERE id = $1", id)
        await desk.notifier.work()
    assert endpoint.ids == [crossing("acme").id]


async def test_nothing_is_silenced_by_what_has_just_been_lifted(desk: Site) -> None:
    """A silence may end between the look at what holds and what is written down by it."""
    await desk.channels(ops="http://127.0.0.1:9")
    await desk.notifier.take([crossing("acme")])
    store, channels = SilenceStore(desk.database), UntoldStore(desk.database)
    made = Silence(id="s", until_ms=NOW_MS + 3_600_000, actor="ada", reason="because")
    await store.add(made, [])
    assert await store.in_force()
    await store.end("s", made.entry("unsilence", "ada", "moved", NOW_MS, "r"))
    await channels.lift(["ops"])
    await channels.silence("ops", {crossing("acme").id: "s"}, {})
    assert await desk.states("ops") == {crossing("acme").id: "pending"}


async def test_attempts_in_a_group_are_shown_after_it_was_sent_again_alone(desk: Site) -> None:
    endpoint = Endpoint(answers=[503, 204])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    many = [crossing(f"t{n}") for n in range(8)]
    await desk.tell(*many)
    await desk.try_again()
    await desk.again(many[3].id)
    found = await AlertStore(desk.database).attempts(many[3].id)
    assert [one.outcome for one in found] == ["refused", "delivered", "delivered"]
    group, again, alone = (one.message for one in found)
    assert group == again and group.startswith("group:") and alone == many[3].id
    others = await AlertStore(desk.database).attempts(many[4].id)
    assert [one.outcome for one in others] == ["refused", "delivered"]


async def test_what_was_told_long_ago_is_forgotten_and_what_waits_is_not(desk: Site) -> None:
    endpoint = Endpoint(answers=[204, 503])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(alert(1))
    await desk.tell(alert(2))
    for column, table in (("taken_at", "alert"), ("at", "alert_attempt")):
        await desk.database.execute(f"UPDATE {table} SET {column} = {column} - interval '91 days'")
    await desk.database.execute(
        "UPDATE alert_message SET created_at = created_at - interval '91 days' "
        "WHERE state = 'delivered'"
    )
    await (await desk.another()).work()
    left = {
        table: [row["id"] for row in await desk.database.fetch(f"SELECT {id} AS id FROM {table}")]
        for table, id in (
            ("alert", "id"),
            ("delivery", "alert_id"),
            ("alert_message", "id"),
            ("alert_attempt", "message_id"),
        )
    }
    assert left == {table: [alert(2).id] for table in left}
