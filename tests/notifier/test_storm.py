"""In a storm Postgres takes tables for as small as they have just been, and reads none whole.

What it reads is counted, as how long that takes depends on the machine; each statement has 10 s.
"""

import pytest

from headgate.store.alerts import AlertStore
from headgate.store.lasting import LastingStore
from headgate.store.untold import UntoldStore
from tests.notifier.site import Site, alert, crossing
from tests.notifier.test_channels import pagerduty
from tests.store.rows_read import rows_read

SOME = 5_000
READ_MAX = 1_000_000
"""Rows: each alert is looked for a few times, and not among all of them each time."""


async def few_are_known(desk: Site) -> None:
    """Of 20 alerts, about nothing that lasts and told elsewhere, Postgres knows."""
    few = [alert(n) for n in range(20)]
    await AlertStore(desk.database).take(few, {one.id: ["elsewhere"] for one in few})
    await desk.database.execute("UPDATE delivery SET state = 'delivered'")
    await desk.database.execute("ANALYZE")


async def storm(desk: Site, state: str, silence: str | None = None) -> None:
    """Many tenants cross a level, and the channel has come so far with all of that."""
    await desk.database.execute(
        "INSERT INTO alert (id, kind, severity, subject, tenant, status, key, at_ms, content) "
        "SELECT 'new-' || n, 'quota.threshold', 'warning', 's' || n, 't' || n, 'firing', "
        "'quota.threshold/tenant/t' || n || '/scan', 0, $1 FROM generate_series(1, $2::int) n",
        crossing("t").model_dump(mode="json"),
        SOME,
    )
    await desk.database.execute(
        "INSERT INTO delivery (alert_id, channel, state, silence_id) "
        "SELECT id, 'pager', $1, $2 FROM alert WHERE id LIKE 'new-%'",
        state,
        silence,
    )


async def months_of_history(desk: Site, days: int, tenants: int) -> None:
    """Tenants that crossed and recovered once a day, as the channel was told in groups."""
    await desk.database.execute(
        "INSERT INTO alert (id, kind, severity, subject, tenant, status, key, at_ms, content) "
        "SELECT day || '-' || n || '-' || status, 'quota.threshold', 'warning', 's' || n, "
        "'t' || n, status, 'quota.threshold/tenant/t' || n || '/scan', 0, $1 "
        "FROM generate_series(1, $2::int) day, unnest(ARRAY['firing', 'resolved']) status, "
        "generate_series(1, $3::int) n ORDER BY day, status, n",
        crossing("t").model_dump(mode="json"),
        days,
        tenants,
    )
    await desk.database.execute(
        "INSERT INTO alert_message (channel, id, form, topic, content, state) "
        "SELECT DISTINCT 'pager', 'group:' || split_part(id, '-', 1) || status, 'group', '', "
        "'{}'::jsonb, 'delivered' FROM alert WHERE key <> ''"
    )
    await desk.database.execute(
        "INSERT INTO delivery (alert_id, channel, state, message_id) SELECT id, 'pager', "
        "'delivered', 'group:' || split_part(id, '-', 1) || status FROM alert WHERE key <> ''"
    )
    await desk.database.execute(
        "INSERT INTO alert_in_message (channel, message_id, alert_id, subject) "
        "SELECT d.channel, d.message_id, a.id, a.subject "
        "FROM delivery d JOIN alert a ON a.id = d.alert_id WHERE d.channel = 'pager'"
    )
    await desk.database.execute("UPDATE alert_message SET created_at = now() - interval '1 day'")


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_channel_with_months_of_history_is_told_in_time(
    desk: Site, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """250 tenants that crossed and recovered once a day: what ended is not looked at again.

    Nor is it in a storm, when Postgres takes the tables for as small as they have just been.
    """
    endpoint = await pagerduty(desk, monkeypatch)
    await few_are_known(desk)
    store = LastingStore(desk.database)
    for _ in range(6):  # by then Postgres would keep one plan for good
        assert await store.incidents_over("pager", [alert(1).id]) == []
    await months_of_history(desk, days=60, tenants=250)
    if is_known:
        await desk.database.execute("ANALYZE")
    tenants = [f"t{n}" for n in range(1, 251)]
    await desk.tell(*(crossing(tenant) for tenant in tenants))
    (begun,) = endpoint.bodies
    read = await rows_read(desk.database)
    await desk.tell(*(crossing(tenant, status="resolved", sequence=2) for tenant in tenants))
    assert [(one["event_action"], one["dedup_key"]) for one in endpoint.bodies[1:]] == [
        ("resolve", begun["dedup_key"])
    ]
    assert await rows_read(desk.database) - read < READ_MAX


async def test_what_a_silence_kept_from_a_channel_is_found_when_it_ends(desk: Site) -> None:
    await few_are_known(desk)
    await desk.database.execute(
        "INSERT INTO silence (id, until, actor, reason) VALUES ('s', now(), 'ada', 'moving house')"
    )
    await storm(desk, "silenced", "s")
    read = await rows_read(desk.database)
    await UntoldStore(desk.database).lift(["pager"])
    assert await rows_read(desk.database) - read < READ_MAX
    assert [*(await desk.states("pager")).values()] == ["pending"] * SOME


async def test_what_is_still_so_is_found(desk: Site) -> None:
    await few_are_known(desk)
    await storm(desk, "delivered")
    read = await rows_read(desk.database)
    assert len(await LastingStore(desk.database).still("pager")) == SOME
    assert await rows_read(desk.database) - read < READ_MAX
