"""What the API shows."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.common import Priority

from headgate.api.service import Temporal
from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Outcome
from tests.api.conftest import Desk
from tests.harness import Orchestrator, acquire, eventually
from tests.jobs import ScanJobInput


async def test_a_downstream_is_shown_with_its_age_its_margin_and_its_transitions(
    desk: Desk,
) -> None:
    scanner = desk.of("scanner")
    await desk.apply(
        downstreams={scanner: {"breaker": {"consecutive_failures": 5, "failure_rate": None}}}
    )
    await desk.governance.report(scanner, 1, successes=10, failures=2)
    viewer = await desk.caller("viewer")

    await desk.saved("breaker", scanner)

    async def shown() -> Any:
        return (await viewer.get(f"/v1/downstreams/{scanner}")).json()

    found = await eventually(shown, lambda one: one["data"]["failures"] == 2)
    assert found["margin"]["failures"] == 3
    assert found["data"]["state"] == "CLOSED"
    assert 0 <= found["age_ms"] < 60_000 and found["revision"] > 0
    await desk.governance.report(scanner, 2, failures=5)
    await desk.governance.until_state(scanner, BreakerState.OPEN)

    async def transitions() -> Any:
        answer = await viewer.get(f"/v1/downstreams/{scanner}/transitions")
        return answer.json()["items"]

    steps = await eventually(transitions, lambda found: len(found) == 1)
    assert (steps[0]["source"], steps[0]["target"]) == ("CLOSED", "OPEN")
    assert steps[0]["rule"] == "consecutive_failures"
    opened = await viewer.get("/v1/downstreams", params={"state": "OPEN", "search": "SCANNER"})
    assert [one["data"]["downstream"] for one in opened.json()["items"]] == [scanner]
    outcomes = (await viewer.get(f"/v1/downstreams/{scanner}/outcomes")).json()["items"]
    assert sum(one["failures"] for one in outcomes) == 7


async def test_tenants_come_page_by_page_and_those_that_wait_first(desk: Desk) -> None:
    names = [desk.of(f"t{number}") for number in range(5)]
    await desk.apply(tenants={name: {"quotas": {"scan": {"max_active": 1}}} for name in names})
    waiting = names[3]
    await desk.governance.exchange(
        waiting, [acquire("a"), acquire("b", wait_ms=60_000), acquire("c", wait_ms=60_000)]
    )
    await desk.saved("ledger", *names)
    viewer = await desk.caller("viewer")

    async def pages(sort: str) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "2", "sort": sort, **({"cursor": cursor} if cursor else {})}
            page = (await viewer.get("/v1/tenants", params=query)).json()
            assert len(page["items"]) <= 2
            found += [one["data"]["tenant"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    assert await pages("name") == names
    in_line = [waiting, *(name for name in names if name != waiting)]
    assert await eventually(lambda: pages("waiting"), lambda found: found[0] == waiting) == in_line
    assert await pages("held") == await pages("usage") == in_line
    assert sorted(await pages("changed")) == names
    first = (await viewer.get("/v1/tenants", params={"sort": "waiting", "limit": 1})).json()
    other = {"sort": "name", "cursor": first["next_cursor"]}
    of_another = await viewer.get("/v1/tenants", params=other)
    assert (of_another.status_code, of_another.json()["detail"]) == (
        400,
        "cursor: is of another sort than name: begin again without it",
    )
    holders = (await viewer.get(f"/v1/tenants/{waiting}/holders")).json()
    assert [one["id"] for one in holders["permits"]] == ["a"]
    assert [(one["id"], one["position"]) for one in holders["waiters"]] == [("b", 1), ("c", 2)]
    none = await viewer.get("/v1/tenants", params={"cursor": "nonsense"})
    assert none.status_code == 400


async def test_a_name_with_a_slash_is_one_name(desk: Desk) -> None:
    name = desk.of("a/holders")
    await desk.apply(tenants={name: {"quotas": {"scan": {"max_active": 1}}}})
    await desk.saved("ledger", name)
    viewer = await desk.caller("viewer")
    shown = await viewer.get(f"/v1/tenants/{name.replace('/', '%2F')}")
    assert shown.json()["data"]["tenant"] == name
    assert (await viewer.get(f"/v1/tenants/{name}")).status_code == 404
    missing = (await viewer.get(f"/v1/tenants/{name}%2Fx")).json()
    assert missing["instance"] == f"/v1/tenants/{name}%2Fx"
    assert (await viewer.get("/v1/tenants/a%00b")).status_code == 400


async def test_a_pool_says_who_has_what_and_what_another_division_would_give(desk: Desk) -> None:
    a, b, pool = desk.of("a"), desk.of("b"), desk.of("pool")
    quota = {"scan": {"guaranteed": 2}}
    await desk.apply(
        tenants={a: {"quotas": quota}, b: {"quotas": quota}},
        pools={pool: {"resource": "scan", "capacity": 8}},
    )
    await desk.saved("governor", pool)
    held_by: list[str] = []

    async def begin_one_more() -> int:
        # None waits: who is not there to hear of its turn would lose its permit at once.
        one = acquire(f"a{uuid4().hex}")
        reply = await desk.governance.exchange(a, [one])
        held_by.extend(one.id for it in reply.decisions if it.outcome is Outcome.GRANTED)
        return len(held_by)

    await eventually(begin_one_more, lambda number: number >= 6)
    viewer = await desk.caller("viewer")

    async def held() -> int:
        data = (await viewer.get(f"/v1/pools/{pool}")).json()["data"]
        return int(data["members"][a]["held"].get("scan", 0))

    await eventually(held, lambda units: units >= 6)
    more = await viewer.post(f"/v1/pools/{pool}/what-if", json={"capacity": {"scan": 4}})
    targets = {one["tenant"]: one["target"] for one in more.json()["tenants"]}
    assert more.json()["capacity"] == {"scan": 4}
    assert sum(targets.values()) <= 4
    unknown = await viewer.post(f"/v1/pools/{pool}/what-if", json={"capacity": {"other": 4}})
    assert unknown.status_code == 409
    pressures = (await viewer.get("/v1/backpressure")).json()["items"]
    assert [one["pool"] for one in pressures] == [pool]


async def test_producers_are_told_how_long_to_wait_also_by_a_header(
    desk: Desk, stack: Stack
) -> None:
    tenant, pool = desk.of("a"), desk.of("pool")
    pressure = {"waiting": {"elevated": 2}, "retry_after_ms": 2_500}
    await desk.apply(
        tenants={tenant: {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 1, "backpressure": pressure}},
    )
    await desk.saved("governor", pool)
    viewer = await desk.caller("viewer")

    async def told() -> tuple[int, str | None]:
        answer = await viewer.get(f"/v1/backpressure/{pool}")
        return answer.json()["data"]["retry_after_ms"], answer.headers.get("Retry-After")

    assert await told() == (0, None)
    governance = desk.governance
    working = Orchestrator(stack.temporal_address, governance.task_queue, governance.options)
    working.scanner.open.clear()
    async with working.running():
        for _ in range(3):
            await working.start(ScanJobInput(tenant=tenant))
        assert await eventually(told, lambda found: found[0] > 0) == (2_500, "3")
        working.scanner.open.set()


async def test_why_a_job_waits_and_who_denies_it(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 1}}}})
    await desk.governance.exchange(tenant, [acquire("a"), acquire("b", wait_ms=60_000)])
    viewer = await desk.caller("viewer")

    async def why() -> Any:
        answer = await viewer.get("/v1/jobs/job-b/why")
        return {**answer.json(), "code": answer.status_code}

    report = await eventually(why, lambda found: found["code"] == 200)
    assert report["obstacles"][0]["code"] == "quota_used_up"
    missing = await viewer.get("/v1/jobs/nobody/why")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"


async def test_who_sees_one_tenant_is_told_why_its_jobs_wait_also_for_a_breaker(
    desk: Desk, stack: Stack
) -> None:
    acme, globex, name = desk.of("acme"), desk.of("globex"), desk.of("scanner")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}, globex: {"quotas": {"scan": {}}}},
        downstreams={name: {}},
    )
    operator = await desk.caller("operator")
    order = {"action": "force_open", "reason": "a drill"}
    forced = await operator.post(f"/v1/downstreams/{name}/commands", json=order)
    assert forced.status_code == 200, forced.text
    ours, others = await desk.caller("viewer", acme), await desk.caller("viewer", globex)
    governance = desk.governance
    working = Orchestrator(stack.temporal_address, governance.task_queue, governance.options)
    async with working.running():
        job = await working.start(ScanJobInput(tenant=acme, downstream=name))
        path = f"/v1/jobs/{job.id}/why"
        told = await eventually(
            lambda: ours.get(path),
            lambda told: told.status_code == 200 and bool(told.json()["obstacles"]),
        )
        assert told.json()["tenants"] == [acme]
        assert [one["code"] for one in told.json()["obstacles"]] == ["forced_open"]
        assert (await others.get(path)).status_code == 404
        page = await ours.get("/jobs", params={"workflow_id": job.id})
        assert page.status_code == 200 and name in page.text
        assert f'href="/downstreams/{name}"' not in page.text, "that page is not for them"
        await job.terminate("the test is over")


async def test_who_sees_one_tenant_sees_its_job_that_asks_for_nothing(desk: Desk) -> None:
    acme, globex = desk.of("acme"), desk.of("globex")
    ours, others = await desk.caller("viewer", acme), await desk.caller("viewer", globex)
    client = desk.governance.client
    said: list[dict[str, Any]] = [
        {"memo": {"headgate-tenant": acme}},
        {"priority": Priority(fairness_key=acme)},
        {"memo": {"headgate-tenant": acme}, "priority": Priority(fairness_key=globex)},
    ]
    silent: list[dict[str, Any]] = [{}, {"memo": {"headgate-tenant": 5}}]

    async def is_shown(number: int, how: dict[str, Any], *, says: bool) -> None:
        id = desk.of(f"idle-{number}")
        job = await client.start_workflow("Idle", id=id, task_queue=desk.of("nobody"), **how)
        # No worker answers for it, which each of them waits for.
        told, hidden = await asyncio.gather(
            ours.get(f"/v1/jobs/{id}/why"), others.get(f"/v1/jobs/{id}/why")
        )
        assert hidden.status_code == 404
        if says:
            found = (told.status_code, told.json().get("tenants"), told.json().get("state"))
            assert found == (200, [acme], "runs"), told.text
        else:
            assert told.status_code == 404
        await job.terminate("the test is over")

    await asyncio.gather(
        *(is_shown(n, how, says=n < len(said)) for n, how in enumerate([*said, *silent]))
    )


async def test_a_page_that_needs_temporal_says_that_it_is_away(desk: Desk) -> None:
    async def connect() -> Client:
        raise UnavailableError("Temporal does not answer")

    desk.service.temporal = Temporal(connect)
    viewer = await desk.caller("viewer", Accept="text/html")
    page = await viewer.get("/jobs", params={"workflow_id": "job"})
    assert page.status_code == 503 and "Temporal does not answer" in page.text


async def test_health_needs_no_key_and_names_no_secret(desk: Desk) -> None:
    stranger = await desk.caller()
    assert (await stranger.get("/healthz")).json()["status"] == "ok"
    ready = await stranger.get("/readyz")
    assert ready.json() == {"status": "ready", "postgres": True, "temporal": True}
    described = (await stranger.get("/v1/openapi.json")).json()
    assert described["openapi"].startswith("3.1")


async def test_whether_work_flows_is_told_to_who_sees_all(desk: Desk) -> None:
    scanner, tenant = desk.of("scanner"), desk.of("t")
    await desk.apply(
        downstreams={scanner: {"breaker": {"consecutive_failures": 3, "open_ms": 600_000}}},
        tenants={tenant: {"quotas": {"scan": {"max_active": 1}}}},
    )
    await desk.governance.report(scanner, 1, failures=3)
    await desk.governance.until_state(scanner, BreakerState.OPEN)
    await desk.saved("breaker", scanner)
    viewer, own = await desk.caller("viewer"), await desk.caller("viewer", tenant=tenant)
    found = (await viewer.get("/v1/status")).json()
    assert found["verdict"] in ("blocked", "stale")  # stale: no worker says so here that it runs
    about = [one for one in found["attention"] if one["subject"] == f"breaker/{scanner}"]
    assert [one["severity"] for one in about] == ["critical"]
    assert (await own.get("/v1/status")).status_code == 403


async def test_what_is_not_known_is_refused_with_what_there_is(desk: Desk) -> None:
    viewer = await desk.caller("viewer")
    for path, said in {
        "/v1/downstreams?sate=OPEN": "'sate': there is no such parameter; did you mean state?",
        "/v1/audit?nonsense=1": "'nonsense': there is no such parameter; there is action, actor, "
        "cursor, limit, search, since_ms, target, until_ms",
        "/v1/status?fresh=1": "'fresh': there is no such parameter; this takes none",
    }.items():
        refused = await viewer.get(path)
        assert (refused.status_code, refused.json()["detail"]) == (422, said)
    stranger = await desk.caller()
    assert (await stranger.get("/v1/downstreams?sate=OPEN")).status_code == 401
    nowhere = await viewer.get("/v1/nowhere")
    assert nowhere.json()["detail"] == "nothing is served there: /v1/openapi.json says what is"
    wrong = await viewer.post("/v1/audit")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.json()["detail"] == "POST is not taken there, but GET"
    for name, value, said in (
        ("If-Match", "17", 'write the ETag of what it was decided by, such as "17"'),
        ("Idempotency-Key", "a b", "write up to 200 printable signs without spaces"),
    ):
        order = {"action": "resume", "reason": "a drill"}
        path, headers = f"/v1/downstreams/{desk.of('x')}/commands", {name: value}
        operator = await desk.caller("operator")
        refused = await operator.post(path, json=order, headers=headers)
        assert refused.status_code in (400, 422)
        assert said in refused.json()["detail"], refused.text
    text = await viewer.get("/v1/audit", params={"actor": "a\x01"})
    assert text.json()["detail"] == "actor: write it in one line, without control characters"


async def test_a_path_is_told_of_as_it_was_asked(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async def connect() -> Client:
        raise UnavailableError("Temporal does not answer")

    desk.service.temporal = Temporal(connect)
    viewer = await desk.caller("viewer")
    away = await viewer.get("/v1/jobs/job%2Fx/why")
    assert (away.status_code, away.json()["instance"]) == (503, "/v1/jobs/job%2Fx/why")
    assert "GET /v1/jobs/job%2Fx/why: Temporal does not answer" in caplog.text
    assert "\x00" not in caplog.text
