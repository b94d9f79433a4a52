"""What is told to workflows through the API, and what stands in the audit of it."""

import asyncio
from typing import Any

import httpx2
import pytest

from headgate.model.breaker import BreakerState
from headgate.model.ids import workflow_id
from headgate.model.quota import Quota
from headgate.store.configuration import ConfigurationStore
from tests.api.conftest import Desk
from tests.harness import acquire, eventually, now_ms


async def _audit(caller: httpx2.AsyncClient, target: str, at_least: int = 1) -> Any:
    async def lines() -> Any:
        found = (await caller.get("/v1/audit", params={"target": target})).json()["items"]
        return [one for one in found if one["action"] != "apply"]

    return await eventually(lines, lambda found: len(found) >= at_least)


async def test_a_breaker_is_forced_open_once_and_the_audit_says_by_whom_and_how(
    desk: Desk,
) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    operator = await desk.caller("operator")
    order = {"action": "force_open", "reason": "the vendor is down", "for_ms": 600_000}
    path = f"/v1/downstreams/{scanner}/commands"
    headers = {"Idempotency-Key": desk.of("once")}
    trial = await operator.post(path, json={**order, "dry_run": True}, headers=headers)
    assert trial.json()["data"]["state"] == "FORCED_OPEN" and trial.json()["dry_run"] is True
    assert (await desk.governance.breaker_state(scanner)).state is BreakerState.CLOSED
    first = await operator.post(path, json=order, headers=headers)
    again = await operator.post(path, json=order, headers=headers)
    assert first.status_code == again.status_code == 200
    assert first.json()["request_id"] == desk.of("once") == again.json()["request_id"]
    assert first.json()["workflow"] == workflow_id("breaker", scanner)
    view = await desk.governance.breaker_state(scanner)
    assert view.override is not None and view.override.actor == "operator-key"
    assert len([step for step in view.transitions if step.actor]) == 1
    (line,) = await _audit(operator, f"breaker/{scanner}")
    assert line["actor"] == "operator-key" and line["how"].startswith("key ")
    assert line["action"] == "force_open"
    assert (line["before"]["state"], line["after"]["state"]) == ("CLOSED", "FORCED_OPEN")
    assert line["reason"] == order["reason"] and line["request_id"] == desk.of("once")
    assert line["workflow"] == workflow_id("breaker", scanner)
    other = await operator.post(path, json={**order, "action": "shadow"}, headers=headers)
    assert other.status_code == 422 and other.json()["code"] == "request_id_reused"
    somebody = await desk.caller("operator")
    stolen = await somebody.post(path, json=order, headers=headers)
    assert stolen.status_code == 422
    # What lifts it and what resets it end in the same state: the audit tells them apart.
    for action in ("resume", "reset"):
        done = await operator.post(path, json={"action": action, "reason": "it is back"})
        assert done.status_code == 200, done.text
    nothing = await operator.post(path, json={"action": "resume", "reason": "it is back"})
    assert nothing.status_code == 404 and nothing.json()["code"] == "not_found"
    lines = await _audit(operator, f"breaker/{scanner}", 3)
    assert [line["action"] for line in lines] == ["reset", "resume", "force_open"]


async def test_who_decides_by_an_old_sight_is_told_so_but_not_by_mere_traffic(
    desk: Desk,
) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    await desk.governance.report(scanner, 1, successes=1)
    await desk.saved("breaker", scanner)
    operator = await desk.caller("operator")
    seen = (await operator.get(f"/v1/downstreams/{scanner}")).headers["ETag"]
    for number in range(2, 6):
        await desk.governance.report(scanner, number, successes=1)
    path = f"/v1/downstreams/{scanner}/commands"
    shadow = {"action": "shadow", "reason": "looking at it"}
    done = await operator.post(path, json=shadow, headers={"If-Match": seen})
    assert done.status_code == 200, done.text
    stale = await operator.post(
        path, json={"action": "resume", "reason": "all is well"}, headers={"If-Match": seen}
    )
    assert stale.status_code == 412 and stale.json()["code"] == "changed_since"
    assert (await desk.governance.breaker_state(scanner)).state is BreakerState.SHADOW
    fresh = await operator.post(
        path,
        json={"action": "resume", "reason": "all is well"},
        headers={"If-Match": done.headers["ETag"]},
    )
    assert fresh.status_code == 200
    future = await operator.post(path, json=shadow, headers={"If-Match": '"999999999999999"'})
    assert future.status_code == 412


async def test_a_tenant_gets_twice_its_quota_for_an_hour_and_it_is_lifted_again(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")
    path = f"/v1/tenants/{tenant}/commands"
    action = {
        "kind": "override",
        "resource": "scan",
        "changes": {"max_active": 4},
        "ends_at_ms": now_ms() + 3_600_000,
    }
    seen = (await operator.get(f"/v1/tenants/{tenant}")).headers["ETag"]
    done = await operator.post(
        path, json={"action": action, "reason": "a big day"}, headers={"If-Match": seen}
    )
    assert done.status_code == 200, done.text
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 4
    stale = await operator.post(
        path, json={"action": action, "reason": "a big day"}, headers={"If-Match": seen}
    )
    assert stale.status_code == 412
    await desk.governance.exchange(tenant, [acquire(str(number)) for number in range(4)])
    lower = {**action, "changes": {"max_active": 1}}
    below = await operator.post(path, json={"action": lower, "reason": "too much"})
    assert below.status_code == 409 and below.json()["code"] == "below_usage"
    released = await operator.post(
        path, json={"action": {"kind": "release", "permit": "0"}, "reason": "it hangs"}
    )
    assert released.status_code == 200
    assert (await desk.governance.account(tenant)).units_held["scan"] == 3
    id = done.json()["request_id"]
    lifted = await operator.post(f"/v1/throttles/{id}/lift", json={"reason": "the day is over"})
    assert lifted.status_code == 200, lifted.text
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 2
    lines = await _audit(operator, f"ledger/{tenant}", 3)
    assert [line["action"] for line in lines] == ["lift", "release", "override"]
    assert all(line["how"].startswith("key ") for line in lines)


async def test_a_pool_is_cut_and_a_resource_is_paused_for_all(desk: Desk) -> None:
    tenant, pool = desk.of("t"), desk.of("pool")
    await desk.apply(
        tenants={tenant: {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 8}},
    )
    await desk.saved("governor", pool)
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")
    cut = await operator.post(
        f"/v1/pools/{pool}/commands",
        json={"action": "throttle", "share": 0.5, "reason": "half of it"},
    )
    assert cut.json()["data"]["capacity"] == {"scan": 4}
    wrong = await operator.post(
        f"/v1/pools/{pool}/commands", json={"action": "throttle", "reason": "how much?"}
    )
    assert wrong.status_code == 422
    paused = await operator.post(
        "/v1/throttles", json={"resource": "scan", "share": 0, "reason": "stop all of it"}
    )
    assert paused.json()["data"]["told"] == 1, paused.text
    assert (await desk.governance.account(tenant)).limits["scan"].paused

    override = {"kind": "override", "resource": "scan", "changes": {"max_active": 4}}
    ends_at_ms = now_ms() + 3_600_000
    twice = await operator.post(
        f"/v1/tenants/{tenant}/commands",
        json={"action": {**override, "ends_at_ms": ends_at_ms}, "reason": "a big day"},
    )
    assert twice.status_code == 200, twice.text

    async def in_force() -> dict[str, Any]:
        found = (await operator.get("/v1/throttles")).json()["items"]
        return {one["kind"]: one for one in found}

    found = await eventually(in_force, lambda found: set(found) == {"pool", "resource", "tenant"})
    assert found["tenant"]["subject"] == tenant and found["tenant"]["what"] == "max_active 4"
    assert found["tenant"]["until_ms"] == ends_at_ms
    # Each says how old it is, and the revision at which its end can be decided.
    assert found["resource"]["revision"] is None and found["resource"]["age_ms"] == 0
    for kind in ("pool", "tenant"):
        assert 0 <= found[kind]["age_ms"] < 60_000 and found[kind]["saved_at_ms"] > 0
    resumed = await operator.post(
        f"/v1/pools/{pool}/commands",
        json={"action": "resume", "reason": "all of it again"},
        headers={"If-Match": f'"{found["pool"]["revision"]}"'},
    )
    assert resumed.status_code == 200, resumed.text


async def test_a_pause_for_all_is_set_once_and_lifted_once_and_the_audit_says_so(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {}}}})
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")

    async def is_paused() -> bool:
        limits = (await desk.governance.account(tenant)).limits.get("scan")
        return limits is not None and bool(limits.paused)

    pause = {"resource": "scan", "share": 0, "for_ms": 3_600_000, "reason": "stop all of it"}
    once = {"Idempotency-Key": desk.of("pause")}
    first = await operator.post("/v1/throttles", json=pause, headers=once)
    again = await operator.post("/v1/throttles", json=pause, headers=once)
    assert first.status_code == again.status_code == 200, again.text
    assert first.json() == again.json() and await is_paused()

    path = f"/v1/throttles/{desk.of('pause')}/lift"
    trial = await operator.post(path, json={"reason": "it is over", "dry_run": True})
    assert trial.status_code == 200 and await is_paused()
    end, over = {"Idempotency-Key": desk.of("lift")}, {"reason": "it is over"}
    lifted = await operator.post(path, json=over, headers=end)
    assert lifted.status_code == 200, lifted.text
    assert lifted.json()["data"]["throttle"]["id"] == desk.of("pause") and not await is_paused()
    repeated = await operator.post(path, json=over, headers=end)
    assert repeated.status_code == 200 and repeated.json() == lifted.json()
    # Whoever has not heard of the lift, and sends the pause once more, does not set it anew.
    late = await operator.post("/v1/throttles", json=pause, headers=once)
    assert late.json()["data"]["throttle"] == first.json()["data"]["throttle"]
    assert not await is_paused()
    assert (await operator.get("/v1/throttles")).json()["items"] == []
    missing = await operator.post(path, json={"reason": "once more"})
    assert missing.status_code == 404

    lines = await _audit(operator, "resource/scan", 2)
    assert [(line["action"], line["request_id"]) for line in lines] == [
        ("lift", desk.of("lift")),
        ("throttle", desk.of("pause")),
    ]
    assert all(line["how"].startswith("key ") for line in lines)


async def test_pauses_for_all_that_are_set_at_the_same_moment_all_hold(desk: Desk) -> None:
    tenant, names = desk.of("t"), [f"r{number}" for number in range(5)]
    await desk.apply(tenants={tenant: {"quotas": {name: {} for name in names}}})
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")
    answers = await asyncio.gather(
        *(
            operator.post("/v1/throttles", json={"resource": name, "share": 0, "reason": "stop it"})
            for name in names
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 5
    found = (await operator.get("/v1/throttles")).json()["items"]
    assert sorted(one["subject"] for one in found) == names
    limits = (await desk.governance.account(tenant)).limits
    assert all(limits[name].paused for name in names)


async def test_an_override_is_lifted_once_by_its_id_and_the_audit_names_the_workflow(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")
    action = {"kind": "override", "resource": "scan", "changes": {"max_active": 4}}
    set_ = await operator.post(
        f"/v1/tenants/{tenant}/commands",
        json={"action": {**action, "ends_at_ms": now_ms() + 3_600_000}, "reason": "a big day"},
    )
    id = set_.json()["request_id"]
    await eventually(lambda: operator.get("/v1/throttles"), lambda found: id in found.text)
    path, once = f"/v1/throttles/{id}/lift", {"Idempotency-Key": desk.of("lift")}
    first = await operator.post(path, json={"reason": "it is over"}, headers=once)
    again = await operator.post(path, json={"reason": "it is over"}, headers=once)
    assert first.status_code == again.status_code == 200, again.text
    assert first.json() == again.json()
    assert first.json()["workflow"] == workflow_id("ledger", tenant)
    lines = await _audit(operator, f"ledger/{tenant}", 2)
    assert [line["action"] for line in lines] == ["lift", "override"]
    assert {line["workflow"] for line in lines} == {workflow_id("ledger", tenant)}


async def test_what_is_set_ends_at_a_time_where_one_is_named(desk: Desk) -> None:
    pool, scanner = desk.of("pool"), desk.of("scanner")
    await desk.apply(
        tenants={desk.of("t"): {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 8}},
        downstreams={scanner: {}},
    )
    await desk.saved("governor", pool)
    operator = await desk.caller("operator")
    until_ms = now_ms() + 3_600_000
    cut = {"action": "throttle", "share": 0.5, "reason": "half of it"}
    orders = {
        "/v1/throttles": {"resource": "scan", "share": 0.5, "reason": "half of it"},
        f"/v1/pools/{pool}/commands": cut,
        f"/v1/downstreams/{scanner}/commands": cut,
    }
    for path, order in orders.items():
        both = {**order, "until_ms": until_ms, "for_ms": 60_000}
        past = {**order, "until_ms": now_ms() - 1_000}
        late = {**order, "until_ms": now_ms() + 366 * 86_400_000}
        for wrong, why in (
            (both, "not by both"),
            (past, "has passed already"),
            (late, "more than 365 days from now"),
        ):
            refused = await operator.post(path, json=wrong)
            assert refused.status_code == 422, refused.text
            assert why in refused.text
        done = await operator.post(path, json={**order, "until_ms": until_ms})
        assert done.status_code == 200, done.text
        data = done.json()["data"]
        ends_ms = (data.get("override") or data.get("throttle"))["until_ms"]
        # How long that is, is sent on to some; so it may be as much later as that takes, and a
        # little earlier where the time of a workflow is behind.
        assert until_ms - 1_000 <= ends_ms < until_ms + 60_000


async def test_a_pause_for_a_minute_of_a_tenant_ends_and_what_is_not_known_is_refused(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")
    path = f"/v1/tenants/{tenant}/commands"
    pause = {"kind": "pause", "resource": "scan"}
    cut = {"kind": "throttle", "resource": "scan", "share": 0.5}
    more = {"kind": "override", "resource": "scan", "changes": {"max_active": 4}}
    until_ms = now_ms() + 3_600_000
    for wrong, why in (
        ({**pause, "for": 60_000}, "for"),
        ({**cut, "until": 5}, "until"),
        ({**pause, "until_ms": 5}, "has passed already"),
        ({**cut, "until_ms": until_ms, "for_ms": 60_000}, "not by both"),
        ({**more, "ends_at_ms": until_ms, "for_ms": 60_000}, "either for_ms, or ends_at_ms"),
        (more, "either for_ms, or ends_at_ms"),
        ({"kind": "resume", "resource": "scan", "at_ms": 5}, "at_ms"),
        ({"kind": "lift", "id": "1", "resource": "scan"}, "resource"),
        ({"kind": "release", "permit": "1", "force": True}, "force"),
    ):
        refused = await operator.post(path, json={"action": wrong, "reason": "a minute"})
        assert refused.status_code == 422, (wrong, refused.text)
        assert why in refused.text
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 2
    for right in (
        {**pause, "for_ms": 60_000},
        {**cut, "for_ms": 60_000},
        {**more, "for_ms": 60_000},
    ):
        done = await operator.post(path, json={"action": right, "reason": "a minute"})
        assert done.status_code == 200, done.text
        after = done.json()["data"]["after"]
        ends_ms = after.get("until_ms") or after["ends_at_ms"]
        assert now_ms() < ends_ms <= now_ms() + 60_000
        if "begins_at_ms" in after:
            assert after["ends_at_ms"] - after["begins_at_ms"] == 60_000
    done = await operator.post(
        path, json={"action": {**pause, "until_ms": until_ms}, "reason": "an hour"}
    )
    assert done.json()["data"]["after"]["until_ms"] == until_ms
    assert done.json()["data"]["after"]["share"] == 0


async def test_an_admin_changes_the_configured_quota_and_an_operator_may_not(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    admin, operator = await desk.caller("admin"), await desk.caller("operator")
    body = {"quota": {"max_active": 9}, "reason": "they pay for it"}
    path = f"/v1/tenants/{tenant}/quotas/scan"
    assert (await operator.put(path, json=body)).status_code == 403
    trial = await admin.put(path, json={**body, "dry_run": True})
    assert "quotas.scan.max_active: 2 -> 9" in trial.json()["data"][0]["lines"]
    assert (await admin.put(path, json=body)).status_code == 200
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 9
    applied = await desk.service.configuration.load()
    quota = applied.tenants[tenant].quotas["scan"]
    assert quota.max_active == 9


async def _configured(desk: Desk, tenant: str) -> int | None:
    applied = await desk.service.configuration.load()
    return applied.tenants[tenant].quotas["scan"].max_active


async def test_a_configured_quota_is_changed_once_and_the_audit_says_by_whom_and_how(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    admin = await desk.caller("admin")
    path = f"/v1/tenants/{tenant}/quotas/scan"
    nine = {"quota": {"max_active": 9}, "reason": "they pay for it"}
    once = {"Idempotency-Key": desk.of("once")}
    first = await admin.put(path, json=nine, headers=once)
    assert first.status_code == 200, first.text
    seven = await admin.put(path, json={"quota": {"max_active": 7}, "reason": "not so many"})
    assert seven.status_code == 200, seven.text
    again = await admin.put(path, json=nine, headers=once)
    assert again.status_code == 200 and again.json()["data"] == first.json()["data"]
    assert await _configured(desk, tenant) == 7
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 7
    found = (await admin.get("/v1/audit", params={"target": f"ledger/{tenant}"})).json()["items"]
    mine = [line for line in found if line["request_id"] == desk.of("once")]
    (line,) = mine
    assert (line["actor"], line["reason"]) == ("admin-key", "they pay for it")
    assert line["how"].startswith("key ") and line["workflow"] == workflow_id("ledger", tenant)
    assert line["before"]["quotas"]["scan"]["max_active"] == 2
    assert line["after"]["quotas"]["scan"]["max_active"] == 9


async def test_a_late_repeat_of_what_changed_nothing_does_not_undo_what_came_after(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    admin = await desk.caller("admin")
    path = f"/v1/tenants/{tenant}/quotas/scan"
    two = {"quota": {"max_active": 2}, "reason": "it is so already"}
    once = {"Idempotency-Key": desk.of("once")}
    for max_active in (None, 5, None):
        body = two if max_active is None else {"quota": {"max_active": 5}, "reason": "more of it"}
        done = await admin.put(path, json=body, headers=once if max_active is None else {})
        assert done.status_code == 200, done.text
    assert await _configured(desk, tenant) == 5


async def test_a_configured_quota_is_left_alone_if_people_have_set_something_since(
    desk: Desk,
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    admin = await desk.caller("admin")
    path = f"/v1/tenants/{tenant}/quotas/scan"
    seen = {"If-Match": (await admin.get(f"/v1/tenants/{tenant}")).headers["ETag"]}
    await desk.governance.exchange(tenant, [acquire("1")])
    body = {"quota": {"max_active": 9}, "reason": "they pay for it"}
    done = await admin.put(path, json=body, headers=seen)
    assert done.status_code == 200, done.text
    other = {"quota": {"max_active": 7}, "reason": "not so many"}
    stale = await admin.put(path, json=other, headers=seen)
    assert stale.status_code == 412 and stale.json()["code"] == "changed_since"
    assert await _configured(desk, tenant) == 9
    fresh = await admin.put(path, json=other, headers={"If-Match": done.headers["ETag"]})
    assert fresh.status_code == 200, fresh.text
    assert await _configured(desk, tenant) == 7


async def test_quotas_that_are_changed_at_the_same_moment_are_all_changed(desk: Desk) -> None:
    names = [desk.of(f"t{number}") for number in range(4)]
    await desk.apply(tenants={name: {"quotas": {"scan": {"max_active": 2}}} for name in names})
    admin = await desk.caller("admin")
    answers = await asyncio.gather(
        *(
            admin.put(
                f"/v1/tenants/{name}/quotas/scan",
                json={"quota": {"max_active": 9}, "reason": "all of them"},
            )
            for name in names
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [await _configured(desk, name) for name in names] == [9] * 4
    limits = [(await desk.governance.account(name)).limits["scan"].max_active for name in names]
    assert limits == [9] * 4


async def test_what_an_older_release_has_stored_is_in_the_way_of_no_quota(desk: Desk) -> None:
    tenant, channel = desk.of("t"), {"kind": "slack", "url": "https://10.1.2.3/x"}
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.database.execute(
        "INSERT INTO configuration (kind, name, spec) VALUES ('notifier', 'notifier', $1) "
        "ON CONFLICT (kind, name) DO UPDATE SET spec = excluded.spec",
        {"channels": {"inside": channel}},
    )
    path = f"/v1/tenants/{tenant}/quotas/scan"
    body = {"quota": {"max_active": 9}, "reason": "more of it"}
    answer = await (await desk.caller("admin")).put(path, json=body)
    assert answer.status_code == 200, answer.text
    assert await _configured(desk, tenant) == 9
    assert "inside" in (await ConfigurationStore(desk.database).load()).notifier.channels


async def test_of_several_that_were_decided_by_the_same_revision_one_is_done(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    admin = await desk.caller("admin")
    seen = {"If-Match": (await admin.get(f"/v1/tenants/{tenant}")).headers["ETag"]}
    path = f"/v1/tenants/{tenant}/quotas/scan"
    answers = await asyncio.gather(
        *(
            admin.put(
                path,
                json={"quota": {"max_active": most}, "reason": "as I saw it"},
                headers=seen,
            )
            for most in range(10, 14)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    done = next(most for most, one in enumerate(answers, 10) if one.status_code == 200)
    assert await _configured(desk, tenant) == done


async def test_what_was_stored_and_not_told_yet_counts_as_set_since(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    admin = await desk.caller("admin")
    seen = {"If-Match": (await admin.get(f"/v1/tenants/{tenant}")).headers["ETag"]}
    # As of somebody whose process ended between the two.
    store = ConfigurationStore(desk.database)
    stored = await store.load()
    quota = stored.tenants[tenant].model_copy(update={"quotas": {"scan": Quota(max_active=5)}})
    wanted = stored.model_copy(update={"tenants": {**stored.tenants, tenant: quota}})
    await store.save(wanted, "bob", "five of them", {})
    body = {"quota": {"max_active": 9}, "reason": "as I saw it"}
    path = f"/v1/tenants/{tenant}/quotas/scan"
    tried = await admin.put(path, json={**body, "dry_run": True}, headers=seen)
    assert tried.status_code == 200, tried.text
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 2
    late = await admin.put(path, json=body, headers=seen)
    assert late.status_code == 412, late.text
    assert await _configured(desk, tenant) == 5
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 5


async def test_what_people_set_while_a_quota_is_stored_is_seen_by_the_ledger(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.saved("ledger", tenant)
    admin = await desk.caller("admin")
    seen = (await admin.get(f"/v1/tenants/{tenant}")).headers["ETag"]
    headers = {"If-Match": seen, "Idempotency-Key": desk.of("once")}
    save = ConfigurationStore.save

    async def and_meanwhile(*arguments: Any, **options: Any) -> None:
        await save(*arguments, **options)
        if options["request_id"] == desk.of("once"):
            pause = {"action": {"kind": "pause", "resource": "scan"}, "reason": "a runaway job"}
            paused = await admin.post(f"/v1/tenants/{tenant}/commands", json=pause)
            assert paused.status_code == 200, paused.text

    monkeypatch.setattr(ConfigurationStore, "save", and_meanwhile)
    path = f"/v1/tenants/{tenant}/quotas/scan"
    body = {"quota": {"max_active": 9}, "reason": "as I saw it"}
    for _ in range(2):  # a repeat is told the same
        refused = await admin.put(path, json=body, headers=headers)
        assert refused.status_code == 412, refused.text
        assert await _configured(desk, tenant) == 2
        view = await desk.governance.account(tenant)
        assert view.quotas is not None and view.quotas["scan"].max_active == 2
    target = {"target": f"ledger/{tenant}", "action": "apply"}
    lines = (await admin.get("/v1/audit", params=target)).json()["items"]
    reasons = [line["reason"] for line in lines if line["reason"] != "test"]
    assert reasons[0].startswith("taken back: people have changed it since revision")
    assert reasons[1:] == ["as I saw it"]


async def test_a_configured_quota_below_what_is_held_is_refused_as_such(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.governance.exchange(tenant, [acquire("1"), acquire("2")])
    admin = await desk.caller("admin")
    path = f"/v1/tenants/{tenant}/quotas/scan"
    body = {"quota": {"max_active": 1}, "reason": "too much of it"}
    refused = await admin.put(path, json=body)
    assert refused.status_code == 409 and refused.json()["code"] == "below_usage"
    assert "allow_below_usage" in refused.json()["detail"]
    assert "--" not in refused.json()["detail"]
    trial = await admin.put(path, json={**body, "dry_run": True})
    assert (trial.status_code, trial.json()) == (409, refused.json())
    allowed = {**body, "dry_run": True, "allow_below_usage": True}
    assert (await admin.put(path, json=allowed)).status_code == 200
    assert await _configured(desk, tenant) == 2
    done = await admin.put(path, json={**body, "allow_below_usage": True})
    assert done.status_code == 200, done.text
    assert await _configured(desk, tenant) == 1


async def test_a_reason_is_required_and_what_is_not_there_is_not_found(desk: Desk) -> None:
    operator = await desk.caller("operator")
    nobody = f"/v1/downstreams/{desk.of('nobody')}/commands"
    assert (await operator.post(nobody, json={"action": "reset"})).status_code == 422
    bell = await operator.post(nobody, json={"action": "reset", "reason": "a\x00b\x07c"})
    assert bell.status_code == 422
    missing = await operator.post(nobody, json={"action": "reset", "reason": "no such thing"})
    assert missing.status_code == 404, missing.text
    broken = await operator.post(nobody, content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400
    assert broken.headers["content-type"] == "application/problem+json"
    assert broken.json()["detail"].startswith("body: is no JSON, from character 1 on: expecting")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/throttles", {"resource": "scan", "share": 0, "reason": "stop it"}),
        ("/v1/throttles/x/lift", {"reason": "go on"}),
        ("/v1/silences", {"kind": "*", "for_ms": 60_000, "reason": "a drill"}),
        ("/v1/silences/x/end", {"reason": "it is over"}),
        ("/v1/alerts/x/resend", {"reason": "once more"}),
    ],
)
async def test_what_has_no_revision_says_so_and_does_not_ignore_one(
    desk: Desk, path: str, body: dict[str, Any]
) -> None:
    operator = await desk.caller("operator")
    refused = await operator.post(path, json=body, headers={"If-Match": '"7"'})
    assert refused.status_code == 400 and "If-Match" in refused.json()["detail"]
    assert (await operator.get("/v1/silences")).json()["items"] == []
    allowed = await operator.post(path, json=body, headers={"If-Match": "*"})
    assert allowed.status_code in (200, 404, 409)


async def test_two_attempts_at_the_same_moment_are_one(desk: Desk) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    operator = await desk.caller("operator")
    order = {"action": "force_closed", "reason": "we know better"}
    answers = await asyncio.gather(
        *(
            operator.post(
                f"/v1/downstreams/{scanner}/commands",
                json=order,
                headers={"Idempotency-Key": desk.of("once")},
            )
            for _ in range(5)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    view = await desk.governance.breaker_state(scanner)
    assert len([step for step in view.transitions if step.actor]) == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, "which this request does not say"),
        ("application/x-www-form-urlencoded", "not as application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_is_not_said_to_be_json_is_refused_with_what_is_expected(
    desk: Desk, said: str | None, expected: str
) -> None:
    operator = await desk.caller("operator")
    headers = {} if said is None else {"Content-Type": said}
    body = b'{"action": "resume", "reason": "it is back"}'
    refused = await operator.post("/v1/downstreams/x/commands", content=body, headers=headers)
    assert refused.status_code == 415 and refused.json()["code"] == "media_type"
    assert "send it with the header Content-Type: application/json" in refused.json()["detail"]
    assert expected in refused.json()["detail"]
