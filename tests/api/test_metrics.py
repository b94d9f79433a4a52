"""The metrics of the service, behind the same keys as everything else."""

from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Desk


async def test_prometheus_reads_what_postgres_has_with_the_key_of_a_viewer(desk: Desk) -> None:
    scanner, busy, idle = desk.of("scanner"), desk.of("busy"), desk.of("idle")
    await desk.apply(
        downstreams={scanner: {}},
        tenants={name: {"quotas": {"scan": {"max_active": 2}}} for name in (busy, idle)},
    )
    await desk.saved("breaker", scanner)
    await desk.saved("ledger", busy, idle)
    viewer = await desk.caller("viewer")
    answer = await viewer.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["headgate_breaker_state", "CLOSED", scanner] == 1
    assert found["headgate_breaker_state", "OPEN", scanner] == 0
    assert found["headgate_tenants",] == 2
    few = (await viewer.get("/metrics", params={"tenants": 0})).text
    assert busy in answer.text and busy not in few and 'tenant="other"' in few
    assert (await viewer.get("/metrics", params={"tenants": -1})).status_code == 422
    admin = await desk.caller("admin")
    assert (await admin.get("/metrics")).status_code == 200


async def test_metrics_are_no_tenants_and_no_strangers_affair(desk: Desk) -> None:
    tenant = desk.of("t")
    stranger = await desk.caller()
    for accept in ("text/plain", "text/html"):
        refused = await stranger.get("/metrics", headers={"Accept": accept})
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    limited = await desk.caller("admin", tenant=tenant)
    assert (await limited.get("/metrics")).status_code == 403
    lines = await desk.service.audit.lines(10, action="denied")
    assert [line.target for line in lines] == ["GET /metrics"] * 3


async def test_without_any_key_they_are_open_on_this_machine_only(desk: Desk) -> None:
    await desk.serve(open_as="somebody")
    anybody = await desk.caller()
    assert "headgate_build_info" in (await anybody.get("/metrics")).text
    elsewhere = await anybody.get("/metrics", headers={"Host": "evil.example"})
    assert elsewhere.status_code == 421
