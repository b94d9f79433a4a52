"""Alerts in a real Alertmanager, read back through its API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.devstack.ports import LOOPBACK, free_port
from tests.harness import eventually
from tests.notifier.real_alertmanager import PACKAGE, alertmanager, alerts_of, program
from tests.notifier.site import Endpoint, Site, alert, crossing, webhook

pytestmark = pytest.mark.skipif(
    program() is None, reason=f"{PACKAGE} is not installed: make peers installs it as root"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    async with alertmanager(folder) as url:
        yield url


async def test_it_fires_is_repeated_and_is_resolved_as_one_alert(
    desk: Site, running: str, name: str
) -> None:
    channel = {"kind": "alertmanager", "url": running, "labels": {"cluster": "test"}}
    await desk.apply(
        channels={"am": channel},
        dashboard_url="https://headgate.example/",
        temporal_ui_url="https://temporal.example",
    )
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    times = {"since_ms": now_ms - 60_000, "at_ms": now_ms}
    await desk.tell(crossing(name).model_copy(update=times))

    async def ours() -> list[dict[str, object]]:
        return [one for one in await alerts_of(running) if one["labels"].get("tenant") == name]

    (fires,) = await eventually(ours, lambda found: len(found) == 1)
    assert fires["labels"] == {
        "alertname": "quota.threshold",
        "cluster": "test",
        "subject": f"tenant/{name}/scan",
        "tenant": name,
    }
    assert fires["annotations"] == {
        "summary": f"{name}:  80 % of scan in use",
        "description": "80 of 100 scan are held",
        "severity": "warning",
        "advice": "Raise its max_active, or wait.",
        "dashboard": f"https://headgate.example/tenants/{name}",
        "temporal": "https://temporal.example/namespaces/default/workflows/"
        f"headgate%2Fledger%2F{name}",
    }
    assert (
        str(fires["startsAt"])[:19]
        == f"{datetime.fromtimestamp((now_ms - 60_000) / 1000, UTC):%FT%T}"
    )
    # It holds until it is resolved, and not just until resolve_timeout.
    assert datetime.fromisoformat(str(fires["endsAt"])).timestamp() * 1000 > now_ms + 80_000_000
    await desk.tell(crossing(name, 100, sequence=2).model_copy(update=times))

    def is_critical(found: object) -> bool:
        return "'critical'" in str(found)

    assert len(await eventually(ours, is_critical)) == 1
    over = {**times, "at_ms": now_ms + 1}
    await desk.tell(crossing(name, status="resolved", sequence=3).model_copy(update=over))
    await eventually(ours, lambda found: found == [])
    assert {*(await desk.states("am")).values()} == {"delivered"}


async def test_a_group_is_each_of_its_alerts(desk: Site, running: str, name: str) -> None:
    await desk.apply(channels={"am": {"kind": "alertmanager", "url": running}})
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    tenants = [f"{name}-{n}" for n in range(30)]
    many = [crossing(one).model_copy(update={"at_ms": now_ms}) for one in tenants]
    await desk.tell(*many)
    assert len(await desk.attempts("am")) == 1

    async def told() -> set[str]:
        return {one["labels"].get("tenant", "") for one in await alerts_of(running)} & {*tenants}

    assert await eventually(told, lambda found: len(found) == 30) == {*tenants}


async def test_what_is_still_so_goes_on_firing_also_after_a_restart(
    desk: Site, tmp_path: Path, name: str
) -> None:
    """Nobody repeats it (``repeat_ms: null``), and Alertmanager keeps alerts in memory only."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    await desk.apply(channels={"am": {"kind": "alertmanager", "url": url}})
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    still, past = (crossing(f"{name}-{n}").model_copy(update={"at_ms": now_ms}) for n in "ab")
    over = crossing(f"{name}-b", status="resolved", sequence=2)
    over = over.model_copy(update={"at_ms": now_ms + 1})

    async def firing() -> list[tuple[str, str]]:
        return [(one["labels"]["tenant"], one["endsAt"]) for one in await alerts_of(url)]

    async with alertmanager(tmp_path / "before", port):
        await desk.tell(still, past)
        await desk.tell(over)
        ((tenant, ends),) = await eventually(firing, lambda found: len(found) == 1)
        assert tenant == still.tenant
        # Long before it ends, it is told again, and what is over is not.
        await desk.database.execute("UPDATE channel SET reminded_at = now() - interval '11 min'")
        await (await desk.another()).work()
        ((tenant, later),) = await eventually(firing, lambda found: found[0][1] != ends)
        assert (tenant, later > ends) == (still.tenant, True)
        assert len(await desk.attempts("am")) == 4
    async with alertmanager(tmp_path / "after", port):
        assert await firing() == []
        await desk.database.execute("UPDATE channel SET reminded_at = now() - interval '11 min'")
        await (await desk.another()).work()
        ((tenant, _),) = await eventually(firing, lambda found: len(found) == 1)
        assert tenant == still.tenant


async def test_an_alertmanager_that_was_away_is_told_all_that_is_still_so(desk: Site) -> None:
    endpoint = Endpoint(answers=[200, 503], path="/api/v2/alerts")
    await desk.apply(
        channels={"am": {"kind": "alertmanager", "url": await desk.serve(endpoint.app())}}
    )
    await desk.tell(crossing("acme"))
    assert len(endpoint.requests) == 1  # and no reminder on its heels
    await desk.tell(crossing("globex"))
    await desk.try_again()
    *_, reminder = endpoint.bodies
    assert {one["labels"]["tenant"] for one in reminder} == {"acme", "globex"}


@pytest.mark.parametrize("repeat_ms", [None, 14_400_000])
async def test_what_lasts_for_months_goes_on_firing_where_nothing_is_repeated(
    desk: Site, repeat_ms: int | None
) -> None:
    """Where it is, what was not repeated is of a workflow that is no more."""
    endpoint = Endpoint(path="/api/v2/alerts")
    channel = {"kind": "alertmanager", "url": await desk.serve(endpoint.app())}
    await desk.apply(channels={"am": channel}, rules={"repeat_ms": repeat_ms})
    over = crossing("over", status="resolved", sequence=2)
    await desk.tell(crossing("acme"), crossing("over"))
    await desk.tell(over)
    for column, table in (("taken_at", "alert"), ("created_at", "alert_message")):
        await desk.database.execute(f"UPDATE {table} SET {column} = {column} - interval '91 days'")
    await (await desk.another()).work()  # which forgets what is old
    left = await desk.database.fetch("SELECT id FROM alert")
    endpoint.requests.clear()
    await desk.database.execute("UPDATE channel SET reminded_at = now() - interval '11 min'")
    await (await desk.another()).work()
    if repeat_ms is None:
        assert [row["id"] for row in left] == [crossing("acme").id]
        assert [one["labels"]["tenant"] for one in endpoint.bodies[0]] == ["acme"]
    else:
        assert (left, endpoint.requests) == ([], [])


async def test_an_alertmanager_that_takes_no_reminders_is_told_as_failing(desk: Site) -> None:
    endpoint, other = Endpoint(answers=[200], path="/api/v2/alerts"), Endpoint()
    await desk.apply(
        channels={
            "am": {"kind": "alertmanager", "url": await desk.serve(endpoint.app())},
            "chat": webhook(await desk.serve(other.app())),
        }
    )
    await desk.tell(crossing("acme"))

    async def remind() -> None:
        await desk.database.execute("UPDATE channel SET reminded_at = now() - interval '11 min'")
        await (await desk.another()).work()

    endpoint.answers = [500, 500, 200, 422, 200]
    await remind()
    await remind()
    assert len(endpoint.requests) == 2, "not at once again"
    assert len(other.requests) == 1
    await desk.after(301)
    await remind()
    await desk.notifier.work()
    told = [event["data"] for event in other.bodies[1:]]
    assert [one["title"] for one in told] == ["Channel am does not take alerts"]
    assert "answered 500" in told[0]["text"]
    await desk.after(60)
    await remind()
    await desk.notifier.work()
    told = [event["data"] for event in other.bodies[1:]]
    assert [one["status"] for one in told] == ["firing", "resolved"]
    # One that is not liked says nothing of the channel.
    await remind()
    assert (await desk.channel("am"))["failures"] == 0
    outcomes = [(outcome, status) for outcome, status, _ in await desk.attempts("am")]
    assert outcomes == [
        ("delivered", None),
        ("refused", 500),
        ("refused", 500),
        ("delivered", None),
        ("refused", 422),
    ]


async def test_an_alertmanager_that_is_away_or_wants_a_token(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(answers=[503, 200], path="/team/api/v2/alerts")
    monkeypatch.setenv("HEADGATE_TEST_TOKEN", "hunter2")
    channel = {
        "kind": "alertmanager",
        "url": f"{await desk.serve(endpoint.app())}/team/",
        "secret_env": "HEADGATE_TEST_TOKEN",
    }
    await desk.apply(channels={"am": channel})
    await desk.tell(alert(1))
    await desk.try_again()
    assert [headers["authorization"] for headers, _ in endpoint.requests] == ["Bearer hunter2"] * 2
    first, second = endpoint.bodies
    # One that is never resolved is told apart by its id, and ends by itself.
    assert first[0]["labels"] == second[0]["labels"]
    assert first[0]["labels"]["id"] == alert(1).id
    assert "hunter2" not in str(await desk.attempts("am"))
