"""``headgate demo`` as people run it, its figures, and what is left of it: nothing."""

import asyncio
import csv
import json
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from temporalio.client import Client

from headgate.orchestrator.tenants import tenant_described
from tests.cli.command import ENVIRON, HEADGATE
from tests.devstack.ended import assert_ended
from tests.harness import eventually

KEYS = {
    "jobs": {"started", "succeeded", "failed", "refused", "waiting"},
    "permits": {"granted", "released", "expired", "reclaimed", "held"},
    "snapshots": {"breakers", "ledgers"},
    "history_replay": {"checked", "failed"},
}
TOP = {
    *KEYS, "calls", "breaker_transitions", "over_grants", "alerts_delivered", "startup_ms",
    "jobs_per_second",
}  # fmt: skip
GOVERNANCE = r"governance worker runs as pid (\d+)"


@dataclass
class Run:
    """A demo that has been started."""

    process: Process
    told: list[str] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    async def until(self, pattern: str, times: int = 1) -> str:
        """Read what is told until a line matches so often; the first group of the last match."""
        assert self.process.stderr is not None
        while True:
            found = [match for line in self.told if (match := re.search(pattern, line))]
            if len(found) >= times:
                self.pids.update(p.pid for p in psutil.Process(self.process.pid).children(True))
                return found[-1][1] if found[-1].groups() else found[-1][0]
            line = await asyncio.wait_for(self.process.stderr.readline(), 60)
            assert line, f"ended without saying {pattern!r}: {self.told}"
            self.told.append(line.decode())

    async def figures(self) -> dict[str, Any]:
        """Wait for the end; the one object on standard output, after a look at its shape."""
        out, err = await asyncio.wait_for(self.process.communicate(), 90)
        self.told += err.decode().splitlines()
        problems = json.loads(out).get("problems") if out else None
        assert self.process.returncode == 0, (problems, out.decode(), self.told)
        assert not any("Traceback" in line for line in self.told), self.told
        figures: dict[str, Any] = json.loads(out)
        assert_ended(self.pids, within_s=0)
        assert set(figures) == TOP
        for key, inner in KEYS.items():
            assert set(figures[key]) == inner
        for calls in figures["calls"].values():
            assert set(calls) == {"admitted", "rejected", "failed"}
        for step in figures["breaker_transitions"]:
            assert set(step) == {"downstream", "at_ms", "from", "to", "reason"}
        return figures


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        *(HEADGATE, "demo", "--headless", "--json", *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env=ENVIRON,
    )
    try:
        yield Run(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def assert_sound(figures: dict[str, Any]) -> None:
    """What must hold in every run, whatever happens in it."""
    permits, jobs = figures["permits"], figures["jobs"]
    resolved = sum(permits[name] for name in ("released", "expired", "reclaimed", "held"))
    assert permits["granted"] == resolved, permits
    ended = sum(jobs[name] for name in ("succeeded", "failed", "refused", "waiting"))
    assert jobs["started"] == ended, jobs
    assert figures["over_grants"] == 0
    assert figures["history_replay"]["failed"] == 0
    assert figures["history_replay"]["checked"] > 0


async def an_ended_job_is_its_tenants(environment: str) -> bool:
    """Whether a job of the demo that is over says whose it was; keys of one tenant see no other."""
    address = re.search(r"TEMPORAL_ADDRESS=(\S+)", Path(environment).read_text())
    assert address is not None
    client = await Client.connect(address[1])

    async def ended() -> list[str]:
        query = "WorkflowType = 'DemoJob' AND ExecutionStatus = 'Completed'"
        return [job.id async for job in client.list_workflows(query, limit=1)]

    id, *_ = await eventually(ended, bool, 60)
    tenant = await tenant_described(await client.get_workflow_handle(id).describe())
    return tenant is not None and id.startswith(f"job/{tenant}/")


Playing = asyncio.Task[dict[str, Any]]


async def play_as_usual() -> dict[str, Any]:
    async with demo("--seconds", "30") as run:  # twice what it takes on a machine at rest
        await run.until("ready after")
        return await run.figures()


async def play_and_kill_the_governance_worker() -> dict[str, Any]:
    async with demo() as run:  # as long as it takes, however busy the machine
        pid = int(await run.until(GOVERNANCE))
        await run.until("CLOSED -> OPEN")
        psutil.Process(pid).kill()
        await run.until("governance worker ended with code 137")
        assert int(await run.until(GOVERNANCE, times=2)) != pid
        run.process.send_signal(signal.SIGINT)
        return await run.figures()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def long_runs() -> AsyncIterator[tuple[Playing, Playing]]:
    """Two that take their time, mostly waiting; the other tests of this file go on meanwhile."""
    usual = asyncio.create_task(play_as_usual())
    killed = asyncio.create_task(play_and_kill_the_governance_worker())
    try:
        yield usual, killed
    finally:
        usual.cancel()
        killed.cancel()
        await asyncio.gather(usual, killed, return_exceptions=True)


@pytest.mark.usefixtures("long_runs")
async def test_ctrl_c_ends_it_early_with_figures() -> None:
    async with demo() as run:  # without --seconds it runs until then
        await run.until("ready after")
        assert await an_ended_job_is_its_tenants(await run.until(r"\. (\S+/environment)"))
        run.process.send_signal(signal.SIGINT)
        await run.until("Ctrl-C once more ends at once")
        figures = await run.figures()
    assert_sound(figures)
    assert len(run.pids) >= 6


@pytest.mark.usefixtures("long_runs")
async def test_ctrl_c_twice_ends_it_at_once() -> None:
    async with demo() as run:
        await run.until("ready after")
        run.process.send_signal(signal.SIGINT)
        await run.until("Ctrl-C once more ends at once")
        run.process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(run.process.communicate(), 20)
        assert (run.process.returncode, out) == (130, b"")
        assert b"Traceback" not in err
        assert_ended(run.pids, within_s=5)


@pytest.mark.usefixtures("long_runs")
async def test_a_trace_is_played_and_what_always_fails_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["submitted_at", "tenant", "job_type", "downstream", "outcome", "duration_s"])
        for number in range(28):
            at = f"2024-11-20T22:{number // 4:02}:{15 * (number % 4):02}Z"
            tenant = f"tenant-{number % 4}"
            rows.writerow([at, tenant, "scan", "model-ok", "success", 6])
            rows.writerow([at, tenant, "scan", "model/broken", "failure", 6])
    # So long that the breaker, which starts with the first call, has spoken before the last one
    # also on a busy machine; on a calm one it has before the sixth.
    slice_ = ("--trace", str(file), "--from", "2024-11-20T22:01:00Z", "--speed", "20")
    async with demo(*slice_) as run:  # ends with the trace
        await run.until("ready after")
        figures = await run.figures()
    assert_sound(figures)
    assert figures["jobs"]["started"] == 48
    broken = figures["calls"]["model/broken"]
    assert 5 <= broken["admitted"] == broken["failed"] < 24
    assert figures["calls"]["model-ok"] == {"admitted": 24, "rejected": 0, "failed": 0}
    assert figures["snapshots"] == {"breakers": 2, "ledgers": 4}
    first = figures["breaker_transitions"][0]
    assert (first["downstream"], first["to"]) == ("model/broken", "OPEN")


async def test_a_governance_worker_that_is_killed_costs_nothing(
    long_runs: tuple[Playing, Playing],
) -> None:
    figures = await long_runs[1]
    assert_sound(figures)
    # What jobs held that Ctrl-C has cut off comes back when their holders are looked after.
    assert figures["jobs"]["succeeded"] > 0


async def test_the_usual_run_shows_all_that_headgate_does(
    long_runs: tuple[Playing, Playing],
) -> None:
    figures = await long_runs[0]
    assert_sound(figures)
    assert {step["to"] for step in figures["breaker_transitions"]} == {
        "OPEN",
        "HALF_OPEN",
        "RAMP",
        "CLOSED",
    }
    assert figures["alerts_delivered"] >= 1
    assert figures["snapshots"] == {"breakers": 3, "ledgers": 4}
    assert set(figures["calls"]) == {"scanner", "attestor", "policy-engine"}
    # How many jobs meet an open breaker depends on how busy the machine is.
    assert any(calls["rejected"] > 0 for calls in figures["calls"].values())
    assert all(figures["jobs"][name] > 0 for name in ("succeeded", "failed", "refused"))
    assert 0 < figures["startup_ms"] < 60_000
    assert figures["jobs_per_second"] > 0
