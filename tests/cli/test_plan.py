"""``headgate plan``: who would gain and lose, reckoned on what runs; and nothing is changed."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.allocation.left import STILL_HELD
from headgate.model.configuration import Configuration
from headgate.model.ledger import LedgerView
from headgate.model.plan import Forecast, PoolForecast, Seen
from headgate.model.pool import CapacityOverride, Followed, MemberView, PoolView
from headgate.orchestrator.pool_forecast import pool_forecast
from headgate.quota.record import LedgerRecord, Meter, Waiter
from tests.cli.conftest import Desk
from tests.harness import eventually
from tests.jobs import ScanJobInput


def configuration(capacity: int = 12, **acme: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "tenants": {
                "acme": {"quotas": {"scan": acme}},
                "globex": {"quotas": {"scan": {}}},
            },
            "pools": {"slots": {"resource": "scan", "capacity": capacity}},
        }
    )


def ledger(tenant: str, held: int, waiting: int, units: int = 1) -> LedgerRecord:
    """The account of a tenant some of whose jobs, of so many units each, are in line."""
    record = LedgerRecord(tenant, {}, "listed")
    record.meters["scan"] = Meter(units=held, held=held)
    for number in range(waiting):
        record.waiters[f"{tenant}-{number}"] = Waiter(
            "scan", units, "w", "", priority=0, order=number, since_ms=0, until_ms=10**9
        )
    return record


def foretold(
    wanted: Configuration,
    source: Seen = "live",
    view: PoolView | None = None,
    ledgers: Mapping[str, LedgerRecord] | None = None,
    applied: Configuration | None = None,
) -> PoolForecast:
    """What would be of the pool, now that it is as ``configuration(8)`` says."""
    applied, ledgers = applied or configuration(8), ledgers or LEDGERS
    return pool_forecast(wanted, applied, "slots", source, view, ledgers, 0)


LEDGERS = {"acme": ledger("acme", 6, 6), "globex": ledger("globex", 2, 0)}


def pool_now(override: CapacityOverride | None = None) -> PoolView:
    members = {
        "acme": MemberView(held={"scan": 6}, wanted={"scan": 12}, allocated={"scan": 6}),
        "globex": MemberView(held={"scan": 2}, wanted={"scan": 2}, allocated={"scan": 2}),
    }
    return PoolView(
        pool="slots",
        settings=configuration(8).governor("slots"),
        capacity={"scan": 8},
        override=override,
        members=members,
        revision=1,
        incarnation=1,
    )


def targets(found: PoolForecast) -> dict[str, int]:
    return {one.tenant: one.target for one in found.tenants}


def test_more_capacity_unblocks_those_who_wait() -> None:
    found = foretold(configuration(12), view=pool_now())
    assert (found.capacity_before, found.capacity) == ({"scan": 8}, {"scan": 12})
    assert targets(found) == {"acme": 10, "globex": 2}
    acme = found.tenants[0]
    assert (acme.held, acme.wanted, acme.allocated, acme.difference) == (6, 12, 6, 4)
    assert (acme.waiting, acme.unblocked, acme.blocked, acme.over) == (6, 4, 0, 0)


def test_what_a_pool_follows_goes_on_limiting_it() -> None:
    wanted = configuration(12)
    wanted.pools["slots"] = wanted.pools["slots"].model_copy(update={"follows": "scanner"})
    limit = Followed(downstream="scanner", limit=8, since_ms=0, revision=7)
    view = pool_now().model_copy(update={"follows": limit})
    found = foretold(wanted, view=view)
    assert found.capacity == {"scan": 8}
    assert targets(found) == {"acme": 6, "globex": 2}
    # What it follows no more limits nothing.
    assert foretold(configuration(12), view=view).capacity == {"scan": 12}


def test_a_group_counts_only_where_it_has_members() -> None:
    wanted = Configuration.model_validate(
        {
            "groups": {
                "all": {"shares": {"scan": {"guaranteed": 60}}},
                "east": {"parent": "all", "shares": {"scan": {"guaranteed": 50}}},
                "empty": {"shares": {"scan": {"guaranteed": 50}}},
            },
            "tenants": {
                "acme": {"group": "east", "quotas": {"scan": {}}},
                "globex": {"quotas": {"scan": {}}},
            },
            "pools": {
                "one": {"resource": "scan", "capacity": 60, "tenants": ["acme"]},
                "other": {"resource": "scan", "capacity": 60, "tenants": ["globex"]},
            },
        }
    )
    assert {*wanted.governor("one").groups} == {"all", "east"}
    assert not wanted.governor("other").groups


def test_jobs_of_several_units_count_with_all_of_them() -> None:
    ledgers = LEDGERS | {"acme": ledger("acme", 6, 2, units=3)}
    found = foretold(configuration(12), view=pool_now(), ledgers=ledgers)
    acme = found.tenants[0]
    assert (acme.wanted, acme.target, acme.waiting, acme.unblocked) == (12, 10, 2, 1)


def test_a_lower_limit_shows_what_is_held_too_much() -> None:
    found = foretold(configuration(12, max_active=4), view=pool_now())
    assert targets(found) == {"acme": 4, "globex": 2}
    assert (found.tenants[0].over, found.tenants[0].difference) == (2, -2)


def test_what_operators_have_set_stays_in_force() -> None:
    set_by_ada = CapacityOverride(capacity={"scan": 4}, actor="ada", reason="a drill", since_ms=0)
    found = foretold(configuration(12), view=pool_now(set_by_ada))
    assert found.capacity == {"scan": 4}
    assert found.override == set_by_ada
    assert sum(targets(found).values()) == 4


def test_a_new_pool_is_divided_on_the_demand_of_the_ledgers() -> None:
    found = foretold(configuration(10), "new")
    assert (found.source, found.capacity_before) == ("new", {})
    assert targets(found) == {"acme": 8, "globex": 2}
    assert [one.allocated for one in found.tenants] == [None, None]
    assert found.tenants[0].unblocked == 2


def test_a_paused_tenant_asks_for_no_more() -> None:
    found = foretold(configuration(12, paused="a drill"), view=pool_now())
    assert targets(found)["acme"] == 6


def test_several_resources_are_divided_by_dominant_share() -> None:
    wanted = Configuration.model_validate(
        {
            "tenants": {
                "acme": {"quotas": {"scan": {}, "gpu": {}}},
                "globex": {"quotas": {"scan": {}}},
            },
            "pools": {"slots": {"capacity": {"scan": 4, "gpu": 8}}},
        }
    )
    ledgers = {"acme": ledger("acme", 0, 4), "globex": ledger("globex", 0, 4)}
    found = foretold(wanted, "new", ledgers=ledgers)
    assert {(one.tenant, one.resource): one.target for one in found.tenants} == {
        ("acme", "gpu"): 0,
        ("acme", "scan"): 2,
        ("globex", "gpu"): 0,
        ("globex", "scan"): 2,
    }


@pytest.mark.parametrize(
    "change",
    [{"observe_only": True}, {"strategy": "unlimited"}],
)
def test_a_pool_that_limits_nobody_blocks_nobody(change: dict[str, Any]) -> None:
    wanted = configuration(2).model_dump(mode="json", exclude_defaults=True)
    wanted["pools"]["slots"] |= change
    found = foretold(Configuration.model_validate(wanted), view=pool_now())
    assert [(one.over, one.blocked) for one in found.tenants] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("limit", [{"max_active": 8}, {"per_day": 2}, {"paused": "a drill"}])
def test_what_is_not_changed_changes_nothing(limit: dict[str, Any]) -> None:
    """Nor if much waits for limits of its own, or one has more than its part for a while."""
    applied = configuration(12, **limit)
    members = dict(pool_now().members)
    wanted = {"max_active": 8, "per_day": 8, "paused": 6}[next(iter(limit))]
    members["acme"] = MemberView(
        held={"scan": 6}, wanted={"scan": wanted}, allocated={"scan": wanted + 1}
    )
    settings = applied.governor("slots")
    view = pool_now().model_copy(update={"settings": settings, "members": members})
    found = foretold(applied, view=view, applied=applied)
    acme, globex = found.tenants
    assert (acme.wanted, acme.allocated, acme.before, acme.target) == (
        wanted,
        wanted + 1,
        wanted,
        wanted,
    )
    for one in (acme, globex):
        assert (one.difference, one.unblocked, one.blocked, one.over) == (0, 0, 0, 0)
    # With a larger pool neither: what it waits for is its own limit.
    more = configuration(20, **limit)
    assert [one.difference for one in foretold(more, view=view, applied=applied).tenants] == [0, 0]
    # But without the limit the whole line counts.
    assert targets(foretold(configuration(20), view=view, applied=applied))["acme"] == 12


def test_a_lower_limit_of_its_own_lets_jobs_wait_that_could_begin() -> None:
    members = pool_now().members | {
        "acme": MemberView(held={"scan": 6}, wanted={"scan": 12}, allocated={"scan": 12})
    }
    view = pool_now().model_copy(
        update={"settings": configuration(20).governor("slots"), "members": members}
    )
    found = foretold(configuration(20, max_active=8), view=view, applied=configuration(20))
    assert (found.tenants[0].difference, found.tenants[0].blocked) == (-4, 4)


def test_what_one_holds_who_leaves_is_taken_off_the_capacity() -> None:
    alone = configuration(8).model_dump(mode="json", exclude_unset=True)
    alone["pools"]["slots"]["tenants"] = ["acme"]
    wanted = Configuration.model_validate(alone)
    found = foretold(wanted, view=pool_now())
    assert (found.leaves, found.capacity) == (["globex"], {"scan": 8})
    assert targets(found) == {"acme": 6}, "2 of the 8 are held by globex"
    assert [one.type for one in found.conditions] == [STILL_HELD]
    assert "globex" in found.conditions[0].message and "2 scan" in found.conditions[0].message
    # So it stays until they are back.
    settings = wanted.governor("slots")
    gone = pool_now().model_copy(
        update={
            "settings": settings,
            "left": {"globex": {"scan": 2}},
            "members": {"acme": pool_now().members["acme"]},
        }
    )
    found = foretold(wanted, view=gone, applied=wanted)
    assert (targets(found), found.tenants[0].difference) == ({"acme": 6}, 0)


def _has_in_line(line: dict[str, int], view: LedgerView | None) -> bool:
    return view is not None and view.waiting == line


async def test_an_unchanged_file_changes_nothing_whatever_the_jobs_wait_for(
    desk: Desk, tmp_path: Path
) -> None:
    """Calendar windows and limits of the tenants' own are what the governor hears of."""
    daily, narrow, pool = desk.of("daily"), desk.of("narrow"), desk.of("slots")
    guaranteed = {"guaranteed": 2}
    sections: dict[str, Any] = {
        "tenants": {
            daily: {"quotas": {"scan": {"per_day": 1, **guaranteed}}},
            narrow: {"quotas": {"scan": {"max_active": 2, **guaranteed}}},
        },
        "pools": {pool: {"resource": "scan", "capacity": 6, "strategy": "reserved"}},
    }
    await desk.apply(**sections)
    file = tmp_path / "headgate.yaml"

    async def planned() -> PoolForecast:
        file.write_text(yaml.safe_dump(sections))
        told = await desk.done("plan", "-f", str(file), "--json")
        (found,) = [one for one in Forecast.model_validate_json(told).pools if one.pool == pool]
        return found

    async with desk.orchestrator() as working:
        for tenant in (daily, narrow):
            for _ in range(4):
                await working.start(ScanJobInput(tenant=tenant))
        for tenant, waiting in ((daily, 3), (narrow, 2)):
            saved = partial(desk.governance.saved_ledger, tenant)
            line = {"scan": waiting}
            await eventually(saved, partial(_has_in_line, line))
        same = await planned()
        assert [one.wanted for one in same.tenants] == [1, 2]
        assert [(one.difference, one.unblocked, one.blocked) for one in same.tenants] == [
            (0, 0, 0)
        ] * 2
        # Less than is guaranteed, or nothing at all, is as an operator may set it.
        less = await desk.done("pool", "what-if", pool, "scan=2")
        assert f"pool {pool}: 6 -> 2 scan" in less and "OVERCOMMITTED: the guarantees" in less
        assert "6 -> 0 scan" in await desk.done("pool", "what-if", pool, "scan=0")

        sections["tenants"][daily]["quotas"]["scan"]["per_day"] = 3
        more = {one.tenant: one for one in (await planned()).tenants}
        assert (more[daily].wanted, more[daily].difference, more[daily].unblocked) == (3, 2, 2)
        assert more[narrow].difference == 0
        # What is held within a guarantee the governor need not have heard of: the ledger knows.
        narrows = sections["tenants"].pop(narrow)
        without = await planned()
        assert (without.leaves, [one.target for one in without.tenants]) == ([narrow], [3])
        assert [one.type for one in without.conditions] == [STILL_HELD]
        assert "may still hold 2 scan" in without.conditions[0].message
        sections["tenants"][narrow] = narrows
        sections["pools"][pool]["tenants"] = [narrow]
        without = await planned()
        assert (without.leaves, [one.target for one in without.tenants]) == ([daily], [2])
        assert [one.type for one in without.conditions] == [STILL_HELD]

        # To apply less than is held is said as well, and not refused.
        sections["pools"][pool]["capacity"] = 2
        file.write_text(yaml.safe_dump(sections))
        for tried in (["--dry-run"], []):
            said = " ".join((await desk.done("apply", "-f", str(file), *tried)).split())
            assert f"! pool {pool} is to have 2 scan, but 3 are held" in said
        again = await desk.done("apply", "-f", str(file), "--json")
        assert json.loads(again)["below_held"] == []


async def test_the_plan_is_made_on_what_runs_and_changes_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    acme, globex, pool = desk.of("acme"), desk.of("globex"), desk.of("slots")
    sections: dict[str, Any] = {
        "tenants": {
            acme: {"quotas": {"scan": {"max_active": 8}}},
            globex: {"quotas": {"scan": {}}},
        },
        "pools": {pool: {"resource": "scan", "capacity": 2}},
    }
    await desk.apply(**sections)
    file = tmp_path / "headgate.yaml"
    async with desk.orchestrator() as working:
        for _ in range(4):
            await working.start(ScanJobInput(tenant=acme))
        await eventually(
            lambda: desk.governance.pool(pool),
            lambda view: (
                view.members[acme].held == {"scan": 2} and view.members[acme].wanted == {"scan": 4}
            ),
        )
        await eventually(
            lambda: desk.governance.saved_ledger(acme),
            lambda view: view is not None and view.waiting == {"scan": 2},
        )
        file.write_text(yaml.safe_dump(sections))
        same = await desk.done("plan", "-f", str(file))
        # Other tests' ledgers may be there, which the file does not know.
        changes = same.partition("\n\n")[0]
        assert not any(one in changes for one in (acme, globex, pool)), same

        sections["pools"][pool]["capacity"] = 4
        sections["tenants"][acme]["quotas"]["scan"]["max_active"] = 1
        sections["pools"][desk.of("new")] = {"resource": "gpu", "capacity": 4}
        sections["tenants"][globex]["quotas"]["gpu"] = {}
        file.write_text(yaml.safe_dump(sections))
        shown = await desk.done("plan", "-f", str(file))
        assert "capacity.scan: 2 -> 4" in shown
        assert f"pool {pool}: 2 -> 4 scan, proportional" in shown
        assert f"! max_active of scan of {acme} would be 1, but 2 are held" in " ".join(
            shown.split()
        )
        assert "new: the demand is that of the ledgers" in " ".join(shown.split())
        told = Forecast.model_validate(
            json.loads(await desk.done("plan", "-f", str(file), "--json"))
        )
        parts = {(one.pool, part.tenant): part for one in told.pools for part in one.tenants}
        assert parts[pool, acme].over == 1
        assert (await desk.governance.pool(pool)).capacity == {"scan": 2}

        trial = await desk.headgate("apply", "-f", str(file), "--dry-run")
        assert (trial.code, "would be applied" in trial.out) == (2, True)
        refused = (await desk.headgate("apply", "-f", str(file))).refusal
        assert trial.err == f"headgate: {refused}\n"
        allowed = await desk.done("apply", "-f", str(file), "--dry-run", "--allow-below-usage")
        assert allowed == trial.out
        assert "nothing was changed, because limits would be below what is held" in refused
        assert (await desk.governance.account(acme)).limits["scan"].max_active == 8
        await desk.headgate("apply", "-f", str(file), "--allow-below-usage")
        assert (await desk.governance.account(acme)).limits["scan"].max_active == 1


async def test_a_file_that_cannot_be_used_is_told_in_a_line(desk: Desk, tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert "cannot be read" in (await desk.headgate("plan", "-f", str(missing))).refusal
