"""Metrics of workers through Temporal's meter, as a Prometheus would read them; and traces."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import httpx2
import opentelemetry.trace
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Replayer, Worker

from headgate import HeadgatePlugin
from headgate.devstack.ports import free_port
from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState
from headgate.model.entity import EntityOptions
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.store.database import Database
from headgate.view.metrics import BUCKETS, METRICS, UNGOVERNED
from tests.harness import Governance, eventually, soon_left
from tests.jobs import PingJob, ScanJob, ScanJobInput, Scanner, ping

Samples = dict[str, float]


class Measured:
    """A worker of both kinds whose runtime exports what it counts."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.runtime = Runtime(
            telemetry=TelemetryConfig(
                metrics=PrometheusConfig(
                    bind_address=self.address, histogram_bucket_overrides=BUCKETS
                )
            )
        )

    async def samples(self) -> Samples:
        """Values of Headgate's metrics by name and labels, without those that Temporal adds."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://{self.address}/metrics")).text
        wanted = {label for metric in METRICS for label in metric.labels} | {"le"}
        found: Samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("headgate_"):
                    kept = sorted(item for item in sample.labels.items() if item[0] in wanted)
                    labels = ",".join(f"{name}={value}" for name, value in kept)
                    key = f"{sample.name}{{{labels}}}"
                    found[key] = found.get(key, 0) + sample.value
        return found


@pytest.fixture(scope="module")
def measured() -> Measured:
    return Measured()


@asynccontextmanager
async def _jobs(client: Client, scanner: Scanner) -> AsyncIterator[str]:
    queue = f"jobs-{uuid4().hex[:8]}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[ScanJob, PingJob],
        activities=[scanner.scan, ping],
        max_cached_workflows=0,  # every workflow task is a replay
    )
    async with soon_left(worker):
        yield queue


async def test_workers_count_what_they_do_and_replays_do_not_count_again(
    stack: Stack,
    database: Database,
    task_queue: str,
    options: EntityOptions,
    name: str,
    measured: Measured,
) -> None:
    plain = await Client.connect(
        stack.temporal_address, runtime=measured.runtime, data_converter=pydantic_data_converter
    )
    plugin = HeadgatePlugin(
        task_queue=task_queue, options=options, governed={"ping": {"downstream": name}}
    )
    client = await Client.connect(
        stack.temporal_address, runtime=measured.runtime, plugins=[plugin]
    )
    scanner = Scanner()
    governance = Governance(plain, database, task_queue, options)
    async with governance.running(), _jobs(client, scanner) as queue:
        policy = BreakerPolicy(failure_rate=None, consecutive_failures=1, open_ms=600_000)
        await governance.set_policy(name, policy)
        await governance.set_quotas(name, scan=Quota(max_active=1))

        async def scan(linger_ms: int = 0, max_wait_ms: int | None = None) -> str:
            return await client.execute_workflow(
                ScanJob.run,
                ScanJobInput(name, name, linger_ms=linger_ms, max_wait_ms=max_wait_ms),
                id=f"job-{uuid4().hex[:12]}",
                task_queue=queue,
                execution_timeout=timedelta(minutes=1),
            )

        async def until(*expected: str) -> Samples:
            return await eventually(
                measured.samples, lambda found: all(found.get(key, 0) for key in expected)
            )

        await scan(linger_ms=20)
        scanner.broken = True
        with pytest.raises(WorkflowFailureError):
            await scan()
        await governance.until_state(name, BreakerState.OPEN)
        opened = f"headgate_trip_delay_seconds_count{{downstream={name}}}"
        await until(opened)
        with pytest.raises(WorkflowFailureError):
            await scan(max_wait_ms=0)
        with pytest.raises(WorkflowFailureError):
            await client.execute_workflow(
                PingJob.run,
                id=f"ping-{uuid4().hex[:12]}",
                task_queue=queue,
                execution_timeout=timedelta(minutes=1),
            )
        found = await until(
            f"headgate_calls_total{{downstream={name},outcome=success}}",
            f"headgate_calls_total{{downstream={name},outcome=failure}}",
            f"headgate_calls_total{{downstream={name},outcome=rejected}}",
        )
    assert found[f"headgate_calls_total{{downstream={name},outcome=success}}"] == 1
    assert found[f"headgate_calls_total{{downstream={name},outcome=failure}}"] == 1
    granted = "headgate_decisions_total{decision=granted,reason=none,resource=scan}"
    denied = "headgate_decisions_total{decision=denied,reason=breaker_open,resource=scan}"
    assert (found[granted], found[denied]) == (2, 1)
    assert found["headgate_admission_seconds_count{resource=scan}"] == 3
    waited = "headgate_permit_wait_seconds_count{decision=%s,resource=scan}"
    assert (found[waited % "granted"], found[waited % "denied"]) == (2, 1)
    held_back = f"headgate_calls_denied_total{{downstream={name},reason=breaker_open}}"
    assert found[held_back] == 1
    assert found[f"headgate_call_wait_seconds_count{{downstream={name}}}"] == 1
    assert found["headgate_snapshot_lag_seconds_count{kind=breaker}"] >= 1
    assert found["headgate_snapshot_lag_seconds_count{kind=ledger}"] >= 1
    _are_those_of_the_list(found)


def _are_those_of_the_list(found: Samples) -> None:
    """Names, and the bounds of histograms, are as the list has them."""
    for metric in METRICS:
        if metric.source == "service" or metric is UNGOVERNED:  # nothing is away here
            continue
        of = [key for key in found if key.startswith((f"{metric.name}{{", f"{metric.name}_bucket"))]
        assert of, metric.name
        for bound in metric.buckets:
            assert any(f"le={bound:g}," in key or f"le={bound:g}}}" in key for key in of), bound
    known = {metric.name for metric in METRICS}
    parts = {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    assert {key.partition("{")[0] for key in found} <= known | parts


async def test_a_trace_shows_the_permit_of_a_job(
    stack: Stack, governance: Governance, options: EntityOptions, name: str
) -> None:
    exporter = InMemorySpanExporter()
    provider = create_tracer_provider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    opentelemetry.trace.set_tracer_provider(provider)
    await governance.set_quotas(name, scan=Quota(max_active=1))
    plugins = [
        OpenTelemetryPlugin(add_temporal_spans=True),
        HeadgatePlugin(task_queue=governance.task_queue, options=options),
    ]
    client = await Client.connect(stack.temporal_address, plugins=plugins)
    async with _jobs(client, Scanner()) as queue:
        handle = await client.start_workflow(
            ScanJob.run,
            ScanJobInput(tenant=name, downstream=name, linger_ms=20),
            id=f"job-{uuid4().hex[:12]}",
            task_queue=queue,
            execution_timeout=timedelta(minutes=1),
        )
        await handle.result()
        spans = await eventually(
            lambda: _spans(exporter), lambda found: "RunActivity:scan" in found
        )
        history = await handle.fetch_history()
    asked, called = spans["RunActivity:headgate.admit"], spans["RunActivity:scan"]
    assert asked.context is not None
    assert called.context is not None
    assert asked.context.trace_id == called.context.trace_id
    assert asked.start_time is not None
    assert called.start_time is not None
    assert asked.start_time < called.start_time
    # A history that was traced replays without tracing.
    await Replayer(workflows=[ScanJob], plugins=[HeadgatePlugin()]).replay_workflow(history)


async def _spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}
