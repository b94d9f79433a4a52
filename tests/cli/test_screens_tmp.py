import asyncio, json, os
import pytest
from headgate.cli.worker import governance_worker
from headgate.devstack.stack import Stack
from headgate.model.configuration import Configuration
from headgate.orchestrator.configure import Configurator
from tests.cli.command import run as run_
from tests.harness import *
from tests.jobs import ScanJobInput
from tests.cli.test_apply import Site, site
from headgate.model.breaker import BreakerCommand


async def test_screens(site: Site, stack: Stack, options, tmp_path, client):
    environ = {"TEMPORAL_ADDRESS": stack.temporal_address, "HEADGATE_DATABASE_URL": site.dsn, "COLUMNS": "80"}
    async def run(*args):
        a = await run_(*args, environ=environ)
        print("$ headgate", *args); print(a.out + a.err, end=""); print()
        return a
    file = tmp_path / "h.yaml"
    file.write_text("""
downstreams: {scanner: {}}
pools:
  scanner-slots: {resource: scan, capacity: 6, strategy: reserved}
tenants:
  acme: {quotas: {scan: {max_active: 4, guaranteed: 2, per_day: 100, rate: 100/s}}}
  globex: {quotas: {scan: {max_active: 10, guaranteed: 2}}}
""")
    async with governance_worker(client, site.governance.database):
        await run("apply", "-f", str(file))
        g = Governance(client, site.governance.database, "headgate", options)
        o = Orchestrator(stack.temporal_address, "headgate", options)
        async with o.running():
            o.scanner.open.clear()
            jobs = [await o.start(ScanJobInput(tenant="acme", downstream="scanner")) for _ in range(6)]
            jobs += [await o.start(ScanJobInput(tenant="globex")) for _ in range(6)]
            await asyncio.sleep(4)
            await run("quota", "list")
            await run("quota", "show", "acme")
            await run("pool", "show", "scanner-slots")
            for j in (jobs[0], jobs[5], jobs[11]):
                await run("why", j.id)
            await run("quota", "override", "acme", "scan", "max_active=20", "rate=5/s", "--for", "2h", "--reason", "a drill", "--actor", "ada")
            await run("throttle", "tenant", "acme", "--to", "50%", "--reason", "a drill", "--for", "30m", "--actor", "ada")
            await run("throttle", "resource", "scan", "--to", "0", "--reason", "a drill", "--for", "30m", "--actor", "ada")
            await run("throttle", "pool", "scanner-slots", "--to", "50%", "--reason", "a drill", "--actor", "ada")
            await run("pool", "set-capacity", "scanner-slots", "scan=4", "--reason", "a drill", "--actor", "ada", "--for", "1h")
            await run("throttle", "downstream", "scanner", "--to", "0", "--reason", "a drill", "--actor", "ada", "--for", "1h")
            await asyncio.sleep(2)
            await run("throttle", "list")
            await run("quota", "show", "acme")
            await run("quota", "list")
            await run("why", jobs[5].id)
            late = await o.start(ScanJobInput(tenant="acme", downstream="scanner"))
            await asyncio.sleep(1)
            await run("why", late.id)
            page = await g.holders("acme")
            await run("release", page.permits[0].id, "--reason", "it hangs", "--dry-run")
            await run("release", page.permits[0].id, "--reason", "it hangs")
            await run("release", "nope", "--reason", "it hangs")
            file.write_text(file.read_text().replace("capacity: 6", "capacity: 12").replace("max_active: 4", "max_active: 3") + """
  initech: {quotas: {gpu: {max_active: 5}}}
""")
            await run("plan", "-f", str(file))
            await run("apply", "-f", str(file))
            await run("why", "nobody")
            listed = json.loads((await run_("throttle", "list", "--json", environ=environ)).out)
            for one in listed:
                if one["id"]:
                    await run("throttle", "lift", one["id"], "--reason", "over")
            await run("throttle", "lift", "nope", "--reason", "over")
            await run("pool", "resume", "scanner-slots", "--reason", "over")
            await run("breaker", "resume", "scanner", "--reason", "over")
            await run("quota", "resume", "acme", "--reason", "over")
            o.scanner.open.set()
            await run("throttle", "list")
            await asyncio.sleep(1)
        await run("why", jobs[0].id)
        await run("why", jobs[5].id)
        for j in (*jobs, late):
            try: await j.terminate()
            except Exception: pass
