"""The metrics of the service: in Prometheus' format, bounded, and as the list says."""

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headgate.model.quota import Quota
from headgate.monitoring.exposition import OTHER, render
from headgate.store.database import Database
from headgate.store.workers import WorkerStore
from headgate.view.metrics import METRICS
from tests.store.test_overview import _save, _save_tenant
from tests.unit.pools import NOW_MS, PoolOfLedgers
from tests.unit.test_breaker import Gate, make


def _samples(text: str) -> dict[str, float]:
    """Values by name and labels, as they are written."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found
            found[key] = sample.value
    return found


async def _govern(database: Database) -> None:
    await WorkerStore(database).beat("w")
    breaker = make(min_calls=4, open_ms=60_000)
    Gate(breaker).report(".xxx")
    await _save(database, "breaker", "scanner", breaker.view(NOW_MS).model_dump_json(), NOW_MS)
    well = make(min_calls=8, failure_rate=0.5)
    Gate(well).report(".......x")
    attestor = well.view(NOW_MS).model_copy(update={"downstream": "attestor"})
    await _save(database, "breaker", "attestor", attestor.model_dump_json(), NOW_MS)
    pool = PoolOfLedgers(10, {"acme": Quota(guaranteed=4), "bolt": Quota(guaranteed=2)})
    pool.ask("acme", 7)
    pool.wait(2_000)
    view = pool.governor.view()
    await _save(database, "governor", "p", view.model_dump_json(), NOW_MS)
    for tenant, ledger in pool.ledgers.items():
        await _save(database, "ledger", tenant, ledger.view().model_dump_json(), NOW_MS)


async def test_every_metric_of_the_service_is_there_and_none_else(own_database: Database) -> None:
    await _govern(own_database)
    text = (await render(own_database, NOW_MS)).decode()
    named = {family.name for family in text_string_to_metric_families(text)}
    ours = [metric for metric in METRICS if metric.source == "service"]
    listed = {metric.name.removesuffix("_total") for metric in ours}
    assert named == listed - {"headgate_breaker_limit_calls"}  # nothing has a limit here


async def test_the_values_are_those_of_what_was_saved(own_database: Database) -> None:
    await _govern(own_database)
    found = _samples((await render(own_database, NOW_MS)).decode())
    assert found["headgate_breaker_state{downstream=scanner,state=OPEN}"] == 1
    assert found["headgate_breaker_state{downstream=scanner,state=CLOSED}"] == 0
    assert found["headgate_breaker_state_code{downstream=scanner}"] == 3
    assert found["headgate_breaker_state_code{downstream=attestor}"] == 0
    assert found["headgate_breaker_margin_ratio{downstream=attestor}"] == 0.75
    assert found["headgate_breaker_failure_ratio{downstream=attestor}"] == 0.125
    assert found["headgate_breaker_calls_total{downstream=scanner,outcome=failure}"] == 3
    assert found["headgate_verdict{verdict=blocked}"] == 1
    assert found["headgate_attention_items{severity=critical}"] == 1
    held = found["headgate_tenant_used_units{resource=scan,tenant=acme}"]
    waiting = found["headgate_tenant_waiting_requests{resource=scan,tenant=acme}"]
    assert (held + waiting, held > 4) == (7, True)
    assert found["headgate_tenant_borrowed_units{resource=scan,tenant=acme}"] == held - 4
    assert found["headgate_permits_total{event=granted,resource=scan}"] == held
    assert found["headgate_pool_capacity_units{pool=p,resource=scan}"] == 10
    assert found["headgate_pool_tenant_guaranteed_units{pool=p,resource=scan,tenant=bolt}"] == 2
    given = [value for name, value in found.items() if "tenant_allocated_units" in name]
    assert sum(given) == found["headgate_pool_allocated_units{pool=p,resource=scan}"] <= 10


async def test_tenants_beyond_the_first_are_added_up(own_database: Database) -> None:
    for number in range(5):
        await _save_tenant(own_database, f"t{number}", held=2, waiting=number, most=2)
    await _save_tenant(own_database, OTHER, held=1, waiting=0, most=2)
    text = (await render(own_database, NOW_MS, most_tenants=2)).decode()
    found = _samples(text)
    waiting = "headgate_tenant_waiting_requests{resource=scan,tenant="
    assert {name: value for name, value in found.items() if name.startswith(waiting)} == {
        f"{waiting}t4}}": 4,
        f"{waiting}t3}}": 3,
        f"{waiting}{OTHER}}}": 3,
    }
    assert found["headgate_tenant_used_units{resource=scan,tenant=other}"] == 7
    assert found["headgate_tenant_room_units{resource=scan,tenant=other}"] == 8
    everybody = _samples((await render(own_database, NOW_MS)).decode())
    assert everybody["headgate_tenant_used_units{resource=scan,tenant=other@}"] == 1
    assert found["headgate_tenants"] == 6


async def test_with_nothing_governed_there_is_still_an_answer(own_database: Database) -> None:
    found = _samples((await render(own_database, NOW_MS)).decode())
    assert found["headgate_verdict{verdict=stale}"] == 1
    assert "headgate_worker_seen_age_seconds" not in found


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: make monitoring-tools")
async def test_prometheus_finds_no_fault_with_them(own_database: Database) -> None:
    await _govern(own_database)
    text = await render(own_database, NOW_MS)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
