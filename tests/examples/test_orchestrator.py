"""The example orchestrator as it is, and with the lines that its README adds to govern it."""

import ast
import asyncio
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client

from headgate.devstack.http_server import serving
from headgate.devstack.ports import free_port
from headgate.devstack.process import GuardedProcess
from headgate.devstack.stack import Stack
from headgate.devstack.workers import worker_environment
from headgate.model.breaker import BreakerState
from headgate.model.entity import EntityOptions
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.store.database import Database
from tests.cli.command import run as headgate
from tests.harness import Governance, eventually
from tests.store.fresh_database import migrated_database

EXAMPLE = Path(__file__).parents[2] / "examples" / "orchestrator"
ANSWER = {"report": "clean", "attestation": "signed", "allowed": True}


@dataclass
class Services:
    """The scanner, the attestor and the policy engine, and who calls them."""

    takes_s: float = 0.5
    broken: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    active: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: Request) -> JSONResponse:
        service, tenant = request.path_params["service"], (await request.json())["tenant"]
        self.calls[service] += 1
        if service != "scanner":
            return JSONResponse(ANSWER)
        self.active[tenant] += 1
        self.most[tenant] = max(self.most[tenant], self.active[tenant])
        try:
            await asyncio.sleep(self.takes_s)  # it takes that long
            return JSONResponse(ANSWER, 503 if self.broken else 200)
        finally:
            self.active[tenant] -= 1


@dataclass
class Example:
    """The example's folder, and its processes."""

    folder: Path
    services: Services
    environ: dict[str, str]
    log: Path

    def govern(self) -> None:
        """Apply the diff that the README shows."""
        text = (self.folder / "README.md").read_text("utf-8")
        diff = text.partition("```diff\n")[2].partition("```")[0].splitlines()
        added = [line[1:] for line in diff if line.startswith("+")]
        (removed,) = (line[1:] for line in diff if line.startswith("-"))
        worker = self.folder / "worker.py"
        code = worker.read_text("utf-8")
        assert code.count(f"{removed}\n") == 1
        imported, connected = added
        before = "from temporalio.client import Client\n"
        code = code.replace(before, f"{imported}\n{before}").replace(removed, connected)
        worker.write_text(code, "utf-8")

    @asynccontextmanager
    async def process(self, *arguments: str) -> AsyncIterator[GuardedProcess]:
        process = await GuardedProcess.start(
            (sys.executable, *arguments),
            name=arguments[0],
            log=self.log,
            env=self.environ,
            cwd=self.folder,
            stop_signal=signal.SIGINT,
        )
        try:
            yield process
        finally:
            await process.stop()

    async def finished(self, jobs: GuardedProcess) -> dict[str, int]:
        """Wait for a starter's end, and return what became of its jobs."""
        assert await asyncio.wait_for(jobs.wait(), 60) == 0, self.log.read_text("utf-8")
        last = self.log.read_text("utf-8").splitlines()[-1]
        return dict(ast.literal_eval(last))


@pytest_asyncio.fixture
async def example(stack: Stack, tmp_path: Path) -> AsyncIterator[Example]:
    services = Services()
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "orchestrator"))
    app = Starlette(routes=[Route("/{service}", services.answer, methods=["POST"])])
    async with serving(app) as base:
        urls = {
            "SCANNER_URL": f"{base}/scanner",
            "ATTESTOR_URL": f"{base}/attestor",
            "POLICY_ENGINE_URL": f"{base}/policy-engine",
        }
        environ = worker_environment(stack, **urls)
        yield Example(folder, services, environ, tmp_path / "example.log")


@pytest_asyncio.fixture
async def governance(
    stack: Stack, client: Client, options: EntityOptions, example: Example
) -> AsyncIterator[Governance]:
    """Governance as the example expects it: on the default task queue, with its configuration."""
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        site = Governance(client, database, GOVERNANCE_TASK_QUEUE, options)
        async with site.running():
            environ = {**example.environ, "HEADGATE_DATABASE_URL": dsn}
            applied = await headgate(
                *(
                    "apply",
                    "-f",
                    str(example.folder / "headgate.yaml"),
                    "--reason",
                    "the first day",
                ),
                environ=environ,
            )
            assert applied.code == 0, applied.err
            yield site
        # Their names are plain ones, and others share the server.
        query = "ExecutionStatus = 'Running' AND TaskQueue = 'headgate'"
        async for found in client.list_workflows(query):
            await client.get_workflow_handle(found.id).terminate()


async def test_ungoverned_all_jobs_call_at_once_and_again_and_again(example: Example) -> None:
    services = example.services
    services.broken = True
    async with (
        example.process("worker.py"),
        example.process("starter.py", "acme=9", "globex=6") as jobs,
    ):
        await until(lambda: services.calls["scanner"] >= 30)
        assert services.most["acme"] > 4
        assert services.most["globex"] > 2
        services.broken = False
        assert await example.finished(jobs) == {"released": 15}


async def test_governed_the_breaker_opens_the_quotas_hold_and_all_jobs_are_done(
    example: Example, governance: Governance
) -> None:
    services = example.services
    services.broken = True
    example.govern()
    async with (
        example.process("worker.py"),
        example.process("starter.py", "acme=9", "globex=6") as jobs,
    ):
        await governance.until_state("scanner", BreakerState.OPEN)
        await until(lambda: not services.active.total())
        calls = services.calls["scanner"]
        assert calls <= 5 + 4 + 2  # those that were under way when the fifth failed
        opened_s = time.monotonic()
        while time.monotonic() < opened_s + 1.5:  # the breaker stays open for 5 s
            assert services.calls["scanner"] == calls
            await asyncio.sleep(0.05)
        services.broken = False
        assert await example.finished(jobs) == {"released": 15}
    assert services.most["acme"] <= 4
    assert services.most["globex"] <= 2
    assert (services.calls["attestor"], services.calls["policy-engine"]) == (15, 15)
    view = await eventually(
        lambda: governance.account("acme"), lambda v: v.units_held.get("scan") == 0
    )
    assert view.accounts["scan"].granted >= 9


def test_the_readme_is_short_and_its_lines_are_those_of_the_code(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "orchestrator"))
    Example(folder, Services(), {}, tmp_path / "log").govern()
    governed = (folder / "worker.py").read_text("utf-8").splitlines()
    ungoverned = (EXAMPLE / "worker.py").read_text("utf-8").splitlines()
    assert len(set(governed) - set(ungoverned)) == 2
    assert len((EXAMPLE / "README.md").read_text("utf-8").splitlines()) <= 30


async def until(holds: Callable[[], bool]) -> None:
    async def look() -> bool:
        return holds()

    await eventually(look, bool, within_s=30)


async def test_the_stand_ins_for_the_services_answer_and_fail_as_told(tmp_path: Path) -> None:
    port = free_port()
    process = await GuardedProcess.start(
        (sys.executable, "services.py", "--port", str(port), "--broken", "scanner"),
        name="services",
        log=tmp_path / "services.log",
        env=dict(os.environ),
        cwd=EXAMPLE,
        stop_signal=signal.SIGINT,
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as peer:

            async def status(service: str) -> int | None:
                try:
                    return (await peer.post(f"/{service}", json={})).status_code
                except httpx2.ConnectError:
                    return None  # it does not listen yet

            assert await eventually(lambda: status("attestor"), bool) == 200
            assert await status("scanner") == 503
    finally:
        await process.stop()
