"""``headgate apply`` on the real stack: the plan, what it does, and that twice is once."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from headgate.cli.worker import governance_worker
from headgate.devstack.stack import Stack
from headgate.gate.kinds import KINDS, governing
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.configuration import Configuration
from headgate.model.entity import EntityOptions
from headgate.model.errors import UnavailableError
from headgate.model.ids import Kind, workflow_id
from headgate.model.quota import Throttle
from headgate.orchestrator.change import Change
from headgate.orchestrator.configure import Configurator, Plan
from headgate.orchestrator.throttles import ResourceThrottles
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore
from tests.cli.command import HEADGATE, run
from tests.cli.test_overview import terminal
from tests.harness import Governance, acquire, eventually, now_ms
from tests.store.fresh_database import migrated_database


@dataclass
class Site:
    """A governance worker with a database of its own, in which nothing else is governed."""

    governance: Governance
    configurator: Configurator
    dsn: str
    name: str

    @property
    def store(self) -> ConfigurationStore:
        return ConfigurationStore(self.governance.database)

    def configuration(self, **sections: Any) -> Configuration:
        """Of downstreams by policy and tenants by quotas; each name is made the test's own."""
        return Configuration.model_validate(
            {
                "downstreams": {
                    self.of(key): {"breaker": policy}
                    for key, policy in sections.get("downstreams", {}).items()
                },
                "tenants": {
                    self.of(key): {"quotas": quotas}
                    for key, quotas in sections.get("tenants", {}).items()
                },
                "pools": {
                    self.of(key): {**pool, "tenants": [self.of(name) for name in pool["tenants"]]}
                    for key, pool in sections.get("pools", {}).items()
                },
                "notifier": sections.get("notifier", {}),
            }
        )

    def of(self, key: str) -> str:
        return key if key == "*" else f"{self.name}-{key}"

    async def apply(self, wanted: Configuration, reason: str = "because") -> Plan:
        return await self.configurator.apply(wanted, "ada", reason)

    async def audit(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.governance.database.fetch("SELECT * FROM audit")]

    async def quiet(self, kind: Kind, subject: str) -> int:
        """The length of a history once all is saved and nothing more happens by itself."""

        async def lengths() -> tuple[bool, int]:
            store = SnapshotStore(self.governance.database)
            view = await governing(self.governance.client, kind, subject).query(
                "state", KINDS[kind].view, 10
            )
            saved = {
                **{("breaker", v.downstream): v.revision for v in await store.breakers()},
                **{("ledger", v.tenant): v.revision for v in await store.ledgers()},
                **{("governor", v.pool): v.revision for v in await store.pools()},
            }
            before = (await self.governance.handle(kind, subject).describe()).history_length
            await asyncio.sleep(0.1)
            after = (await self.governance.handle(kind, subject).describe()).history_length
            return saved.get((kind, subject)) == view.revision and before == after, after

        return (await eventually(lengths, lambda found: found[0]))[1]


@pytest_asyncio.fixture
async def site(
    stack: Stack, client: Client, task_queue: str, name: str, options: EntityOptions
) -> AsyncIterator[Site]:
    async with (
        migrated_database(stack.dsn) as dsn,
        Database(dsn) as database,
        Governance(client, database, task_queue, options).running() as governance,
    ):
        configurator = Configurator(client, database, task_queue, options)
        yield Site(governance, configurator, dsn, name)


FIRST: dict[str, Any] = {
    "downstreams": {"scanner": {"open_ms": 5_000}, "*": {"consecutive_failures": 5}},
    "tenants": {
        "acme": {"scan": {"max_active": 4, "rate": "10/s"}},
        "globex": {"scan": {"max_active": 2}},
        "*": {"*": {"max_active": 1}},
    },
    "pools": {"slots": {"resource": "scan", "capacity": 6, "tenants": ["acme", "globex"]}},
}


def by_target(plan: Plan) -> dict[str, Change]:
    return {change.target: change for change in plan.changes}


async def test_the_plan_says_what_is_created_updated_and_removed(site: Site) -> None:
    acme, globex, scanner = site.of("acme"), site.of("globex"), site.of("scanner")
    first = site.configuration(**FIRST)
    changes = by_target(await site.apply(first))
    assert set(changes) == {
        f"breaker/{scanner}", "breaker/*", f"ledger/{acme}", f"ledger/{globex}", "ledger/*",
        f"governor/{site.of('slots')}",
    }  # fmt: skip
    assert {change.action for change in changes.values()} == {"create"}
    # Of what is new, what somebody has said, and not all the defaults.
    assert {target: change.lines() for target, change in changes.items()} == {
        f"breaker/{scanner}": ["policy.open_ms: 5000"],
        "breaker/*": ["breaker.consecutive_failures: 5"],
        f"ledger/{acme}": [
            "quotas.scan.max_active: 4",
            "quotas.scan.rate: 10/s",
            f"pools.scan: {site.of('slots')}",
        ],
        f"ledger/{globex}": ["quotas.scan.max_active: 2", f"pools.scan: {site.of('slots')}"],
        "ledger/*": ["quotas.*.max_active: 1"],
        f"governor/{site.of('slots')}": ["capacity.scan: 6"],
    }

    second = site.configuration(
        downstreams={"scanner": {"open_ms": 7_000}, "attestor": {}},
        tenants={"acme": {"scan": {"max_active": 3}}, "*": {"*": {"max_active": 1}}},
    )
    changes = by_target(await site.configurator.plan(second))
    actions = {target: change.action for target, change in changes.items()}
    assert actions == {
        f"breaker/{scanner}": "update",
        f"breaker/{site.of('attestor')}": "create",
        "breaker/*": "remove",
        f"ledger/{acme}": "update",
        f"ledger/{globex}": "remove",
        f"governor/{site.of('slots')}": "remove",
    }
    assert changes[f"breaker/{scanner}"].lines() == ["policy.open_ms: 5000 -> 7000"]
    assert changes[f"breaker/{site.of('attestor')}"].lines() == []  # all as it is by default
    assert changes["breaker/*"].lines() == ["breaker.consecutive_failures: 5"]
    assert changes[f"ledger/{acme}"].lines() == [
        f"pools.scan: {site.of('slots')} -> none",
        "quotas.scan.max_active: 4 -> 3",
        "quotas.scan.rate: 10/s -> none",
    ]
    assert "source: listed -> default" in changes[f"ledger/{globex}"].lines()


async def test_what_is_applied_is_what_runs(site: Site) -> None:
    first = site.configuration(**FIRST)
    await site.apply(first)
    breaker = await site.governance.breaker_state(site.of("scanner"))
    assert (breaker.settings.policy.open_ms, breaker.settings.source) == (5_000, "listed")
    ledger = await site.governance.account(site.of("acme"))
    assert ledger.quotas == first.tenants[site.of("acme")].quotas
    assert await site.store.load() == first


async def test_applying_twice_changes_nothing(site: Site) -> None:
    wanted = site.configuration(**FIRST)
    assert (await site.apply(wanted)).changes
    keys: list[tuple[Kind, str]] = [
        ("breaker", site.of("scanner")),
        ("ledger", site.of("acme")),
        ("ledger", site.of("globex")),
        ("governor", site.of("slots")),
    ]
    lengths = [await site.quiet(*key) for key in keys]
    audit = await site.audit()
    stored = await site.governance.database.fetch("SELECT * FROM configuration ORDER BY name")

    assert (await site.configurator.plan(wanted)).changes == []
    assert (await site.apply(wanted)).changes == []

    assert [await site.quiet(*key) for key in keys] == lengths
    assert await site.audit() == audit
    again = await site.governance.database.fetch("SELECT * FROM configuration ORDER BY name")
    assert again == stored


async def test_a_resource_throttle_that_is_over_is_no_difference(site: Site) -> None:
    wanted = site.configuration(**FIRST)
    await site.apply(wanted)
    governance, acme = site.governance, site.of("acme")
    throttles = ResourceThrottles(
        governance.client, governance.database, governance.task_queue, governance.options
    )
    cut = Throttle(
        id=site.of("cut"), resource="scan", share=0.5, until_ms=now_ms() + 1_500,
        actor="ada", reason="for a moment",
    )  # fmt: skip
    assert (await throttles.set(cut)).told == 2
    assert (await site.configurator.plan(wanted)).changes == []

    await eventually(site.store.resource_throttles, lambda found: not found)
    assert (await governance.account(acme)).resource_throttles == [cut]  # nobody has told it
    assert (await site.configurator.plan(wanted)).changes == []
    audit = await site.audit()
    assert (await site.apply(wanted)).changes == []
    assert await site.audit() == audit

    more = site.configuration(**{**FIRST, "tenants": {**FIRST["tenants"], "acme": {"scan": {}}}})
    (change,) = (await site.apply(more)).changes
    assert change.lines() == ["quotas.scan.max_active: 4 -> none", "quotas.scan.rate: 10/s -> none"]


async def test_ledgers_are_told_before_governors(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.orchestrator.configure._AT_ONCE", 1)
    wanted = site.configuration(**FIRST)
    plan = await site.configurator.plan(wanted)
    plan.settings = dict(reversed(plan.settings.items()))
    await site.configurator.carry_out(plan, wanted, "test", "in which order")
    kinds = [target.partition("/")[0] for target in plan.revisions]
    assert kinds == ["breaker", "ledger", "ledger", "governor"]


async def test_planning_changes_nothing(site: Site, client: Client) -> None:
    plan = await site.configurator.plan(site.configuration(**FIRST))
    assert len(plan.changes) == 6
    assert await site.audit() == []
    assert await site.store.load() == Configuration()
    assert await site.governance.runs("ledger", site.of("acme")) == []


async def test_a_tenant_that_runs_unlisted_gets_the_changed_default(site: Site) -> None:
    await site.apply(site.configuration(tenants={"*": {"*": {"max_active": 1}}}))
    tenant, downstream = site.of("walk-in"), site.of("walk-in")
    await site.governance.exchange(tenant, [acquire("a")])
    await site.governance.report(downstream, 1, successes=1)
    await site.quiet("ledger", tenant)
    await site.quiet("breaker", downstream)

    wanted = site.configuration(
        tenants={"*": {"*": {"max_active": 9}}}, downstreams={"*": {"open_ms": 1_234}}
    )
    changes = by_target(await site.apply(wanted))
    assert changes[f"ledger/{tenant}"].action == "update"
    assert changes[f"ledger/{tenant}"].lines() == ["quotas.*.max_active: 1 -> 9"]
    assert changes[f"breaker/{downstream}"].lines() == ["policy.open_ms: 30000 -> 1234"]
    ledger = await site.governance.account(tenant)
    assert ledger.quotas is not None
    assert ledger.quotas["*"].max_active == 9
    assert (ledger.quota_source, ledger.accounts["scan"].granted) == ("default", 1)
    assert (await site.governance.breaker_state(downstream)).settings.policy.open_ms == 1_234
    assert (await site.configurator.plan(wanted)).changes == []


async def test_what_is_removed_falls_back_to_the_default_or_to_nothing(site: Site) -> None:
    await site.apply(site.configuration(**FIRST))
    fallen = {
        "downstreams": {"*": {"consecutive_failures": 5}},
        "tenants": {"*": FIRST["tenants"]["*"]},
    }
    await site.apply(site.configuration(**fallen))
    breaker = await site.governance.breaker_state(site.of("scanner"))
    assert (breaker.settings.policy.consecutive_failures, breaker.settings.source) == (5, "default")
    ledger = await site.governance.account(site.of("acme"))
    assert ledger.quotas is not None
    assert (ledger.quotas["*"].max_active, ledger.quota_source) == (1, "default")

    await site.apply(Configuration())
    ledger = await site.governance.account(site.of("acme"))
    assert (ledger.quotas, ledger.quota_source) == (None, "none")
    reply = await site.governance.exchange(site.of("acme"), [acquire("a")])
    assert reply.decisions[0].reason is not None
    assert "list it" in reply.decisions[0].reason.message


async def test_what_is_listed_but_does_not_run_is_forgotten_when_it_is_removed(site: Site) -> None:
    await site.apply(site.configuration(**FIRST))
    for key in ("acme", "globex"):
        await site.governance.handle("ledger", site.of(key)).terminate("test")
    less = site.configuration(downstreams=FIRST["downstreams"])
    changes = by_target(await site.apply(less))
    assert changes[f"ledger/{site.of('acme')}"].action == "remove"
    assert await site.store.load() == less


async def test_what_runs_right_but_is_not_stored_is_stored(site: Site) -> None:
    wanted = site.configuration(**FIRST)
    await site.apply(wanted)
    await site.governance.database.execute("DELETE FROM configuration")
    assert (await site.apply(wanted)).changes
    assert await site.store.load() == wanted
    assert (await site.configurator.plan(wanted)).changes == []


async def test_the_audit_says_who_why_and_what(site: Site) -> None:
    acme = site.of("acme")
    await site.apply(site.configuration(tenants={"acme": {"scan": {"max_active": 4}}}))
    await site.apply(
        site.configuration(tenants={"acme": {"scan": {"max_active": 9}}}), "more room for acme"
    )
    first, second = await site.audit()
    assert (first["target"], first["before"]) == (f"ledger/{acme}", None)
    assert (second["actor"], second["reason"]) == ("ada", "more room for acme")
    assert second["before"]["quotas"]["scan"]["max_active"] == 4
    assert second["after"]["quotas"]["scan"]["max_active"] == 9


async def test_what_one_apply_could_not_finish_the_next_one_does(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = site.configuration(**FIRST)
    acme = site.of("acme")
    update = GovernanceWorkflow.update

    async def fails_for_acme(self: GovernanceWorkflow, *args: Any, **kwargs: Any) -> Any:
        if self._id.endswith(acme):
            raise UnavailableError(f"{self._id} did not answer")
        return await update(self, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(GovernanceWorkflow, "update", fails_for_acme)
        with pytest.raises(UnavailableError, match=f"stored, but 1 of 4 .*apply again.*{acme}"):
            await site.apply(wanted)
    # The others have been told all the same.
    assert (await site.governance.account(site.of("globex"))).quota_source == "listed"

    assert list(by_target(await site.apply(wanted))) == [f"ledger/{acme}"]
    assert (await site.governance.account(acme)).quotas == wanted.tenants[acme].quotas
    assert (await site.configurator.plan(wanted)).changes == []


async def test_without_a_governance_worker_nothing_is_changed(
    site: Site, client: Client, options: EntityOptions
) -> None:
    lonely = Configurator(
        client, site.governance.database, "nobody-polls", options, worker_within_s=0.2
    )
    with pytest.raises(UnavailableError, match="no governance worker polls task queue nobody-p"):
        await lonely.apply(site.configuration(**FIRST), "ada", "because")
    assert await site.store.load() == Configuration()
    assert await site.audit() == []


async def test_a_default_alone_needs_no_worker(
    site: Site, client: Client, options: EntityOptions
) -> None:
    lonely = Configurator(
        client, site.governance.database, "nobody-polls", options, worker_within_s=0.2
    )
    wanted = site.configuration(tenants={"*": {"*": {"max_active": 1}}})
    assert (await lonely.apply(wanted, "ada", "because")).changes
    assert await site.store.load() == wanted


async def test_the_command_shows_the_difference_applies_it_and_is_content_the_second_time(
    stack: Stack, site: Site, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(f"tenants:\n  {site.of('acme')}:\n    quotas:\n      scan: {{max_active: 2}}\n")
    environ = os.environ | {
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "HEADGATE_DATABASE_URL": site.dsn,
    }

    async def headgate_apply(*options: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headgate", "apply", "-f", str(file), *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b""), err
        return out.decode()

    shown = [
        f"+ ledger/{site.of('acme')}",
        "    quotas.scan.max_active: 2",
        "1 change would be applied",
    ]
    async with governance_worker(client, site.governance.database):  # on the default task queue
        dry = (await headgate_apply("--dry-run")).splitlines()
        assert dry == shown
        assert await site.audit() == []
        wet = (await headgate_apply("--reason", "a start", "--actor", "ada")).splitlines()
        assert wet[:-1] == dry[:-1]
        assert wet[-1] == "1 change applied"
        (row,) = await site.audit()
        assert (row["actor"], row["reason"]) == ("ada", "a start")
        told = workflow_id("ledger", site.of("acme"))
        assert (row["how"], row["workflow"]) == ("cli", told) and row["request_id"]
        assert (await headgate_apply()).startswith("nothing to change")

        plain = file.read_text()
        more = ("--request-id", "more", "--reason", "more room")
        same = ("--request-id", "same", "--reason", "as it is")
        assert (await headgate_apply(*same)).startswith("nothing to change")
        file.write_text(plain.replace("max_active: 2", "max_active: 5"))
        first = await headgate_apply(*more)
        assert "max_active: 2 -> 5" in first
        file.write_text(plain.replace("max_active: 2", "max_active: 3"))
        await headgate_apply("--reason", "not so much")
        # Late repeats do nothing, also that of one that had nothing to do.
        file.write_text(plain.replace("max_active: 2", "max_active: 5"))
        assert await headgate_apply(*more) == first
        file.write_text(plain)
        assert (await headgate_apply(*same)).startswith("nothing to change")
        tenant = (await site.store.load()).tenants[site.of("acme")]
        assert tenant.quotas["scan"].max_active == 3
        refused = await run("apply", "-f", str(file), *more, environ=environ)
        assert "--request-id more: has been used for something else" in refused.refusal

        chat = "{kind: slack, url: 'https://hooks.example/x'}"
        route = f"{{tenants: [nobody-there, '{site.name}*'], channels: [chat]}}"
        file.write_text(f"{plain}notifier:\n  channels: {{chat: {chat}}}\n  routes: [{route}]\n")
        said = " ".join((await headgate_apply("--dry-run")).split())
        assert "notifier.routes.0: no tenant nobody-there is listed under tenants" in said
        assert said.count("is it written as meant?") == 1


async def test_a_terminal_is_shown_how_far_it_has_come_and_a_pipe_is_not(
    stack: Stack, site: Site, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(f"tenants:\n  {site.of('acme')}:\n    quotas:\n      scan: {{}}\n")
    environ = os.environ | {
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "HEADGATE_DATABASE_URL": site.dsn,
        "TERM": "xterm",
    }
    async with governance_worker(client, site.governance.database):
        for command in ("plan", "apply"):
            with terminal(80, 24) as (ours, theirs):
                process = await asyncio.create_subprocess_exec(
                    *(HEADGATE, command, "-f", str(file)),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=theirs,
                    env=environ,
                )
                out, _ = await process.communicate()
                seen = os.read(ours, 65_536).decode()
            assert process.returncode == 0, seen
            assert "asking what runs" in seen and "100%" in seen
            assert b"asking" not in out
            assert ("telling what runs" in seen) == (command == "apply")
