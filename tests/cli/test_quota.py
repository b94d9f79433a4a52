"""``headgate quota``, ``throttle``, ``pool``, ``holders`` and ``release``, on the real stack."""

import json
import re
from uuid import uuid4

import pytest

from headgate.model.ids import workflow_id
from headgate.model.lease import LeaseAsk
from headgate.model.ledger import Exchange, ExchangeReply, LedgerPage
from headgate.model.policy import BreakerPolicy
from tests.cli.conftest import Desk
from tests.harness import acquire, eventually, now_ms
from tests.jobs import ScanJobInput

ABOUT = ("--actor", "ada", "--reason", "a drill")


async def holding(desk: Desk, tenant: str, permits: int, waiters: int = 0) -> LedgerPage:
    return await eventually(
        lambda: desk.governance.holders(tenant),
        lambda page: (len(page.permits), len(page.waiters)) == (permits, waiters),
    )


async def saved(desk: Desk, *arguments: str, until: str) -> str:
    """What a command shows once Postgres has caught up."""
    return await eventually(lambda: desk.done(*arguments), lambda out: until in out)


async def audit(desk: Desk, action: str) -> list[tuple[str, str, str]]:
    rows = await desk.governance.database.fetch(
        "SELECT actor, reason, target FROM audit WHERE action = $1 ORDER BY at", action
    )
    return [(row["actor"], row["reason"], row["target"]) for row in rows]


async def test_an_override_is_tried_set_seen_and_lifted(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}}}})
    args = ("quota", "override", acme, "scan", "max_active=20", "rate=5/s", "--for", "2h", *ABOUT)
    tried = await desk.done(*args, "--dry-run")
    assert tried.startswith("would do: ")
    assert tried.splitlines()[-1].startswith("until "), "no id: there is never one of this id"
    assert (await desk.governance.account(acme)).overrides == []

    said = json.loads(await desk.done(*args, "--json"))
    assert said["accepted"]
    assert said["before"] == {"max_active": 4, "rate": None}
    assert said["after"]["ends_at_ms"] - said["after"]["begins_at_ms"] == 7_200_000
    shown = await saved(desk, "quota", "show", acme, until="override")
    assert "as configured, except where people have set something: scan" in " ".join(shown.split())
    assert "max_active  20 (configured: 4)" in shown
    assert f"override {said['id']}: scan max_active=20 rate=5/s" in shown
    assert "by ada: a drill" in shown
    assert "override" in await desk.done("quota", "list")

    ended = await desk.done("quota", "lift", acme, said["id"], *ABOUT)
    assert ended.splitlines()[1:] == ["  max_active: 20 -> 4", "  rate: 5/s -> -"]
    view = await desk.governance.account(acme)
    assert (view.overrides, view.limits["scan"].max_active) == ([], 4)
    await saved(desk, "quota", "show", acme, until="quotas as configured;")
    target = ("ada", "a drill", f"ledger/{acme}/scan")
    await eventually(lambda: audit(desk, "lift"), lambda entries: entries == [target])
    assert await audit(desk, "override") == [target]
    assert "max_active: 20 -> 4" in await desk.done("audit", "--action", "lift")


async def test_an_override_that_changes_nothing_says_so(desk: Desk) -> None:
    acme, pool = desk.of("acme"), desk.of("slots")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {"max_active": 10}, "*": {"max_active": 5}}}},
        pools={pool: {"resource": "scan", "capacity": 2, "tenants": [acme]}},
    )
    held = [acquire(str(number)) for number in range(4)]
    await desk.governance.exchange(acme, held)
    await eventually(
        lambda: desk.governance.account(acme), lambda view: view.limits["scan"].allocated == 2
    )
    args = ("quota", "override", acme, "--for", "1h", "--json", *ABOUT)

    async def said(resource: str, most: int, *also: str) -> str:
        return str(
            json.loads(await desk.done(*args, resource, f"max_active={most}", *also))["message"]
        )

    gives = (
        f"; pool {pool} has 2 scan, and gives {acme} 2 at most as things are; the pool limits it: "
        f"for more, raise the capacity of {pool}"
    )
    assert (await said("scan", 20, "--dry-run")).endswith(gives)
    assert (await said("scan", 5, "--dry-run")).endswith(gives), "less, but more than there is"
    assert "; " not in await said("scan", 2, "--dry-run", "--allow-below-usage")
    assert (await said("scan", 20)).endswith(gives)
    assert (await said("nosuch", 4, "--dry-run")).endswith(
        f"; {acme} has never used nosuch, and no quota and no pool names it; it falls under '*'"
    )


async def test_an_override_says_what_it_does_to_the_pool(desk: Desk) -> None:
    acme, globex, pool = desk.of("acme"), desk.of("globex"), desk.of("slots")
    quotas = {"quotas": {"scan": {"guaranteed": 2}}}
    shared = {"resource": "scan", "capacity": 4, "tenants": [acme, globex]}
    await desk.apply(
        tenants={acme: quotas, globex: quotas}, pools={pool: {**shared, "strategy": "reserved"}}
    )
    args = ("quota", "override", acme, "scan", "--for", "1h", "--json", *ABOUT)

    async def said(*changes: str) -> str:
        return str(json.loads(await desk.done(*args, *changes))["message"])

    # It had no limit of its own: one above the capacity limits nothing.
    limited = (
        f"; pool {pool} has 4 scan, and gives {acme} 4 at most as things are; the pool limits it: "
        f"for more, raise what is guaranteed, or the capacity of {pool}"
    )
    assert (await said("max_active=20", "--dry-run")).endswith(limited)
    assert "; " not in await said("max_active=3", "--dry-run")
    assert "; " not in await said("guaranteed=1", "--dry-run")
    too_much = (
        f"; in pool {pool} the guarantees add up to 6, the capacity is 4: each counts as its "
        "proportional share"
    )
    assert (await said("guaranteed=4", "--dry-run")).endswith(too_much)
    assert (await said("guaranteed=4")).endswith(too_much)
    # Once more it takes the place of the first, and says the same.
    for also in (["--dry-run"], []):
        again = await said("guaranteed=4", *also)
        assert "; in place of " in again and again.endswith(too_much)
    assert len((await desk.governance.account(acme)).overrides) == 1
    shown = await saved(desk, "quota", "show", acme, until="override")
    assert "  guaranteed  4 (configured: 2)\n" in shown


async def test_an_override_that_begins_later_holds_for_so_long_from_then_on(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}}}})
    args = ("quota", "override", acme, "scan", "max_active=20", "--for", "30s", *ABOUT, "--json")
    said = json.loads(await desk.done(*args, "--from", "2040-01-02T08:00Z"))["after"]
    begins_ms = 2_209_104_000_000
    assert (said["begins_at_ms"], said["ends_at_ms"]) == (begins_ms, begins_ms + 30_000)
    # What began already holds for so long from now on.
    said = json.loads(await desk.done(*args, "--from", "2020-01-02T08:00Z"))["after"]
    assert said["ends_at_ms"] - said["begins_at_ms"] == 30_000
    assert said["ends_at_ms"] > now_ms()


async def test_an_order_to_a_tenant_that_nobody_lists_says_so(desk: Desk) -> None:
    """A slip of the pen in a job has begun its ledger, which is no reason to suggest the name."""
    acme, slip = desk.of("acme"), desk.of("acmee")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}}}})
    await desk.governance.exchange(slip, [acquire("a")])
    await desk.governance.saved_ledger(slip)
    cut = ("throttle", "tenant", slip, "--to", "50%", *ABOUT)
    unlisted = f"the configuration does not list {slip}: it is granted nothing"
    for more in (("--dry-run",), ()):
        assert unlisted in " ".join((await desk.done(*cut, *more)).split())
    listed = await desk.done("throttle", "tenant", acme, "--to", "50%", *ABOUT)
    assert "does not list" not in listed
    refused = await desk.headgate("throttle", "tenant", desk.of("acmeee"), "--to", "50%", *ABOUT)
    assert refused.refusal.endswith(f"did you mean {acme}?")


async def test_a_tenant_is_paused_before_its_first_job_and_resumed(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}}}})
    await desk.governance.handle("ledger", acme).terminate("as if it had never run")
    out = await desk.done("quota", "pause", acme, *ABOUT)
    assert out.startswith(f"all of {acme} is paused\n")
    async with desk.orchestrator() as working:
        await working.start(ScanJobInput(tenant=acme))
        await holding(desk, acme, permits=0, waiters=1)
        shown = await saved(desk, "quota", "list", until="paused")
        assert acme in shown
        await desk.done("quota", "resume", acme, *ABOUT)
        await holding(desk, acme, permits=1)


async def test_a_pause_for_a_time_ends_by_itself(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}}}})
    said = json.loads(
        await desk.done("quota", "pause", acme, "scan", "--for", "2h", *ABOUT, "--json")
    )
    (throttle,) = (await desk.governance.account(acme)).throttles
    assert (throttle.id, throttle.resource, throttle.share) == (said["id"], "scan", 0)
    assert throttle.until_ms is not None and 7_190_000 < throttle.until_ms - now_ms() <= 7_200_000
    out = await desk.done("quota", "pause", acme, "--until", "2100-01-01T00:00Z", *ABOUT)
    assert "until 2100-01-01 00:00:00Z" in out
    both = ("--for", "2h", "--until", "2100-01-01T00:00Z")
    refused = await desk.headgate("quota", "pause", acme, *both, *ABOUT)
    assert "--for or by --until, not by both" in refused.refusal


async def test_a_limit_goes_below_what_is_held_only_when_that_is_meant(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}, "gpu": {}}}})
    async with desk.orchestrator() as working:
        for _ in range(2):
            await working.start(ScanJobInput(tenant=acme))
        await holding(desk, acme, permits=2)
        args = ("quota", "override", acme, "scan", "max_active=1", "--for", "2h", *ABOUT)
        refused = (await desk.headgate(*args)).refusal
        assert f"max_active of scan of {acme} would be 1, but 2 are held" in refused
        assert "--allow-below-usage" in refused
        await desk.done(*args, "--allow-below-usage")
        assert (await desk.governance.account(acme)).limits["scan"].max_active == 1
        # A window gets nothing back: it ends.
        hourly = (await desk.headgate("quota", "set", acme, "scan", "per_hour=1", *ABOUT)).refusal
        assert f"per_hour of scan of {acme} would be 1, but 2 are granted already in this" in hourly
        assert re.search(r"nothing would be granted until it ends at \d\d:00 .*UTC\. ", hourly)

        gone = ("quota", "unset", acme, "scan", *ABOUT)
        refused = (await desk.headgate(*gone)).refusal
        assert f"scan of {acme} would have no quota, but 2 are held" in refused
        assert (await desk.headgate(*gone, "--dry-run")).refusal == refused
        trial = await desk.done(*gone, "--dry-run", "--allow-below-usage")
        assert trial.endswith("1 change would be applied\n")


async def test_a_resource_is_throttled_for_all_and_lifted(desk: Desk) -> None:
    acme, globex = desk.of("acme"), desk.of("globex")
    quotas = {"quotas": {"scan": {"max_active": 4}}}
    await desk.apply(tenants={acme: quotas, globex: quotas})
    args = ("throttle", "resource", "scan", "--to", "50%", "--for", "30m", *ABOUT)
    trial = await desk.done(*args, "--dry-run")
    assert trial.startswith("scan would be throttled to 50%, until ")
    assert "2 running ledgers would be told" in " ".join(trial.split())
    assert await desk.done("throttle", "list") == "nothing is set by people\n"

    said = json.loads(await desk.done(*args, "--json"))
    assert said["told"] == 2
    for tenant in (acme, globex):
        assert (await desk.governance.account(tenant)).limits["scan"].max_active == 2
    own = json.loads(await desk.done("throttle", "tenant", acme, "--to", "0", *ABOUT, "--json"))
    listed = await saved(desk, "throttle", "list", until=own["id"])
    assert listed.count(said["throttle"]["id"]) == 1
    assert "resource scan" in listed

    for id in (said["throttle"]["id"], own["id"]):
        await desk.done("throttle", "lift", id, *ABOUT)
    for tenant in (acme, globex):
        assert (await desk.governance.account(tenant)).limits["scan"].max_active == 4
    assert (await audit(desk, "throttle"))[0][2] == "resource/scan"


async def test_the_end_of_a_throttle_of_a_resource_stands_in_the_audit(desk: Desk) -> None:
    await desk.apply(tenants={desk.of("acme"): {"quotas": {"scan": {"max_active": 4}}}})
    args = ("throttle", "resource", "scan", "--to", "50%", "--for", "1s", *ABOUT)
    cut = json.loads(await desk.done(*args, "--json"))["throttle"]
    # No ledger speaks for all, so that a governance worker sees to it.
    ended = await eventually(
        lambda: desk.done("audit", "--action", "throttle_ended", "--json"),
        lambda out: "scan" in out,
    )
    [line] = json.loads(ended)
    assert (line["actor"], line["target"]) == ("headgate", "resource/scan")
    assert (line["at_ms"], line["reason"]) == (cut["until_ms"], "a drill")
    assert line["how"] is None, "nobody did it, by whatever way"
    assert line["before"] == cut


async def test_a_throttle_ends_at_a_time_where_one_is_named(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 4}}}})
    args = ("throttle", "tenant", acme, "--to", "50%", *ABOUT)
    said = await desk.done(*args, "--until", "2099-01-02T03:04Z", "--json")
    assert json.loads(said)["after"]["until_ms"] == 4_071_006_240_000
    for also, why in (
        (("--for", "1h", "--until", "2099-01-02T03:04Z"), "by --for or by --until, not by both"),
        (("--until", "2020-01-02T03:04Z"), "--until '2020-01-02T03:04Z' has passed already"),
        (("--until", "tomorrow"), "write a time such as"),
    ):
        assert why in (await desk.headgate(*args, *also)).refusal


async def test_how_full_a_pool_is_and_what_it_follows_is_seen(desk: Desk) -> None:
    acme, pool, scanner = desk.of("acme"), desk.of("slots"), desk.of("scanner")
    await desk.apply(
        downstreams={scanner: {"limit": {"concurrency": {}}}},
        tenants={acme: {"quotas": {"scan": {}}}},
        pools={
            pool: {
                "resource": "scan",
                "capacity": 1,
                "follows": scanner,
                "tenants": [acme],
                "backpressure": {"waiting": {"elevated": 2}},
            }
        },
    )
    calm = json.loads(await desk.done("pool", "pressure", pool, "--json"))
    assert (calm[pool]["level"], calm[pool]["retry_after_ms"]) == ("normal", 0)
    async with desk.orchestrator() as working:
        working.scanner.open.clear()
        for _ in range(3):
            await working.start(ScanJobInput(tenant=acme))
        await eventually(
            lambda: desk.governance.pool(pool), lambda view: view.pressure.level != "normal"
        )
        full = await desk.headgate("pool", "pressure", pool)
        assert full.code == 1
        assert "elevated" in full.out
        assert "2 jobs wait" in full.out
        await desk.done("pool", "pressure", pool, "--below", "saturated")
        shown = await saved(desk, "pool", "show", pool, until="pressure elevated: 2 jobs wait")
        assert f"follows {scanner}, which has no limit now" in shown
        assert pool in (await desk.headgate("pool", "pressure")).out
        wrong = (await desk.headgate("pool", "pressure", pool, "--below", "panic")).refusal
        assert "write elevated, saturated or emergency" in wrong
        working.scanner.open.set()


async def test_a_pool_is_seen_set_cut_and_resumed(desk: Desk) -> None:
    acme, pool = desk.of("acme"), desk.of("slots")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 10, "tenants": [acme]}},
    )
    out = await desk.done("pool", "set-capacity", pool, "scan=4", "--for", "1h", *ABOUT)
    assert out.startswith(f"pool {pool} has 4 scan; set by ada until ")
    shown = await saved(desk, "pool", "show", pool, until="set by ada")
    assert "scan: 0 of 4 held" in shown
    assert pool in await desk.done("pool", "list", "--json")
    half = ("throttle", "pool", pool, "--to", "50%", "--for", "1m", *ABOUT)
    cut = await desk.done(*half, "--dry-run")
    assert cut.startswith(f"pool {pool} would have 2 scan; cut to 50% by ada until 2")
    words = " ".join(cut.split())
    assert "that is 50% of 4 scan; it lies over what ada set at" in words
    assert (await desk.governance.pool(pool)).capacity == {"scan": 4}
    assert "it lies over what ada set at" in " ".join((await desk.done(*half)).split())
    view = await desk.governance.pool(pool)
    assert (view.capacity, [one.share for one in view.set_by_people]) == ({"scan": 2}, [None, 0.5])
    shown = await saved(desk, "pool", "show", pool, until="cut to 50%")
    assert "over what ada set at" in shown
    listed = [line for line in (await desk.done("throttle", "list")).splitlines() if pool in line]
    assert len(listed) == 2
    resume = ("pool", "resume", pool, *ABOUT)
    for _ in range(2):  # a repeat is told what the first has done
        out = await desk.done(*resume, "--request-id", desk.of("resume"))
        assert out.startswith(f"pool {pool} has 10 scan\n")
    for again in (resume, (*resume, "--dry-run")):
        said = (await desk.headgate(*again)).refusal
        assert said == f"nothing is set by people for pool {pool}"
    refused = (await desk.headgate("pool", "set-capacity", pool, "gpu=4", *ABOUT)).refusal
    assert f"pool {pool} has no resource gpu; it has: scan" in refused


async def test_a_downstream_is_cut_or_shut(desk: Desk) -> None:
    name = desk.of("scanner")
    await desk.governance.set_policy(name, BreakerPolicy())
    out = await desk.done("throttle", "downstream", name, "--to", "50%", *ABOUT)
    assert out == f"at most 50% of the calls to {name} passes, until lifted\n"
    assert (await desk.governance.verdict(name)).most == 0.5
    out = await desk.done("throttle", "downstream", name, "--to", "0", "--for", "1h", *ABOUT)
    assert out.startswith(f"no call to {name} passes, until 2")
    assert (await desk.governance.breaker_state(name)).state == "FORCED_OPEN"
    listed = await saved(desk, "throttle", "list", until="FORCED_OPEN")
    assert "breaker resume" in listed


async def test_who_holds_a_permit_is_seen_and_it_is_taken_back(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 1}}}})
    nobody = f"nobody holds anything of tenant {acme}, and nobody waits\n"
    assert await desk.done("holders", acme) == nobody
    async with desk.orchestrator() as working:
        first = await working.start(ScanJobInput(tenant=acme))
        await holding(desk, acme, permits=1)
        second = await working.start(ScanJobInput(tenant=acme))
        page = await holding(desk, acme, permits=1, waiters=1)
        shown = await desk.done("holders", acme, "--resource", "scan")
        assert first.id in shown
        assert second.id in shown
        assert "nobody holds anything of gpu" in await desk.done(
            "holders", acme, "--resource", "gpu"
        )
        found = json.loads(await desk.done("holders", acme, "--json"))
        assert [one["workflow_id"] for one in found["permits"]] == [first.id]

        permit = page.permits[0].id
        trial = await eventually(
            lambda: desk.headgate("release", permit, "--dry-run", *ABOUT), lambda a: a.code == 0
        )
        assert trial.out == f"{acme}: would do: takes 1 scan back from {first.id}\n"
        await desk.done("release", permit, *ABOUT)
        page = await holding(desk, acme, permits=1)
        assert page.permits[0].workflow_id == second.id
        again = (await desk.headgate("release", permit, "--tenant", acme, *ABOUT)).refusal
        assert f"nobody holds or waits for {permit}" in again


async def test_the_block_that_a_gate_holds_is_seen(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 2}}}})
    ask = LeaseAsk(resource="scan", number=1, wanted=2)
    await desk.governance.ledger(acme).update(
        "exchange", Exchange(gate="gate-a", leases=[ask]), uuid4().hex, ExchangeReply, 10
    )
    shown = await desk.done("holders", acme)
    assert re.search(r"gate-a +scan +2 +0 +0", shown), shown
    found = json.loads(await desk.done("holders", acme, "--json"))
    assert [(one["gate"], one["counted"]) for one in found["leases"]] == [("gate-a", 2)]


async def test_a_configured_quota_is_tried_changed_and_taken_out(desk: Desk) -> None:
    acme = desk.of("acme")
    quotas = {"scan": {"max_active": 4, "leased": True}, "*": {"max_active": 1}}
    await desk.apply(tenants={acme: {"quotas": quotas}})
    change = ("quota", "set", acme, "scan", "max_active=8", "rate=5/s", *ABOUT)
    trial = await desk.done(*change, "--dry-run")
    assert "quotas.scan.max_active: 4 -> 8" in trial and "1 change would be applied" in trial
    less = await desk.done("quota", "set", acme, "scan", "leased=false", *ABOUT, "--dry-run")
    assert "quotas.scan.leased: true -> " in less and "False" not in less
    seen = (await desk.governance.account(acme)).revision
    once = (*change, "--request-id", "grow-1", "--if-revision", str(seen), "--json")
    first, again = json.loads(await desk.done(*once)), json.loads(await desk.done(*once))
    assert first["changes"] == again["changes"]
    quota = ((await desk.governance.account(acme)).quotas or {})["scan"]
    assert (quota.max_active, str(quota.rate), quota.leased) == (8, "5/s", True)
    stale = (*("quota", "set", acme, "scan", "rate=none"), *ABOUT, "--if-revision", str(seen))
    assert "people have changed it since revision" in (await desk.headgate(*stale)).refusal
    await desk.done("quota", "set", acme, "scan", "rate=none", *ABOUT)
    assert "it is configured so already" in await desk.done(
        "quota", "set", acme, "scan", "max_active=8", *ABOUT
    )
    await desk.done("quota", "unset", acme, "scan", *ABOUT)
    view = await desk.governance.account(acme)
    assert set(view.quotas or {}) == {"*"}
    rows = await desk.governance.database.fetch(
        "SELECT actor, how, workflow FROM audit WHERE request_id = 'grow-1'"
    )
    assert [tuple(row) for row in rows] == [("ada", "cli", workflow_id("ledger", acme))]
    await desk.done("quota", "set", acme, "scan", "rate=5/s", *ABOUT)
    quota = ((await desk.governance.account(acme)).quotas or {})["scan"]
    assert (quota.max_active, str(quota.rate)) == (1, "5/s"), "as '*' has it, but for the rate"
    await desk.done("quota", "unset", acme, "scan", *ABOUT)
    for said, *arguments in (
        ("lists no tenant 'x'", "quota", "set", "x", "scan", "max_active=1", *ABOUT),
        ("has no quota of", "quota", "unset", acme, "scan", *ABOUT),
        ("max: there is no such field", "quota", "set", acme, "scan", "max=1", *ABOUT),
    ):
        assert said in (await desk.headgate(*arguments)).refusal


async def test_what_is_not_there_is_said_with_what_is(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}},
        pools={desk.of("slots"): {"resource": "scan", "capacity": 1}},
    )
    for said, *arguments in (
        (f"did you mean {acme}?", "quota", "pause", acme[:-1], *ABOUT),
        ("there is no tenant 'x'", "throttle", "tenant", "x", "--to", "0", *ABOUT),
        ("there is no pool 'x'", "pool", "resume", "x", *ABOUT),
        ("no breaker runs for 'x'", "throttle", "downstream", "x", "--to", "0", *ABOUT),
        ("there are: scan", "throttle", "resource", "scn", "--to", "0", *ABOUT),
        (f"{acme} has no quota for gpu", "quota", "pause", acme, "gpu", *ABOUT),
        ("no throttle is set for all", "quota", "resume", acme, *ABOUT),
        ("no override or throttle x", "quota", "lift", acme, "x", *ABOUT),
        ("no saved ledger has 'x': it may be over already", "throttle", "lift", "x", *ABOUT),
        ("no saved ledger has 'x': it may be over already", "release", "x", *ABOUT),
        (f"there is no tenant 'x': there are {acme}", "holders", "x"),
        ("no ledger is known for 'x'", "quota", "show", "x"),
        ("no pool is known by the name 'x'", "pool", "show", "x"),
    ):
        assert said in (await desk.headgate(*arguments)).refusal


async def test_who_holds_what_of_a_tenant_whose_ledger_does_not_run(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {}}}})
    await desk.governance.handle("ledger", acme).terminate("by hand")
    said = (await desk.headgate("holders", acme)).refusal
    assert said.startswith(f"no ledger runs for {acme!r}: nobody has asked for a permit")


async def test_a_permit_is_released_once(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 1}}}})
    async with desk.orchestrator() as working:
        for _ in range(2):
            await working.start(ScanJobInput(tenant=acme))
        page = await holding(desk, acme, permits=1, waiters=1)
        shown = await saved(desk, "quota", "show", acme, until="1, 1 request waits")
        assert "requests" not in shown
        permit = page.permits[0].id
        await desk.done("release", permit, *ABOUT)
        said = (await desk.headgate("release", permit, *ABOUT)).refusal
        assert said.startswith(f"no saved ledger has {permit!r}: it may be over already, or be")


SET = ("quota", "override", "acme", "scan")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SET, "max_active", "--for", "1h", *ABOUT), "'max_active': write name=value"),
        ((*SET, "max_active=x", "--for", "1h", *ABOUT), "max_active: input should be a valid"),
        ((*SET, "max=1", "--for", "1h", *ABOUT), "max: there is no such field"),
        ((*SET, "rate=5", "--for", "1h", *ABOUT), "'5' is not a rate"),
        ((*SET, "time_zone=UTC", "--for", "1h", *ABOUT), "time_zone cannot be overridden"),
        ((*SET, "max_active=1", *ABOUT), "say how long"),
        ((*SET, "max_active=1", "--for", "soon", *ABOUT), "--for 'soon': write a duration"),
        ((*SET, "max_active=1", "--until", "soon", *ABOUT), "--until 'soon': write a time"),
        (
            (*SET, "rate=5/s", "--from", "2040-01-02", "--until", "2040-01-01", *ABOUT),
            "--until '2040-01-01' is not after --from '2040-01-02': an override lasts for a time",
        ),
        (("quota", "pause", "a b", *ABOUT), "tenant 'a b': write letters"),
        (("quota", "pause", "acme", "--reason", "no"), "--reason: string should have at least 3"),
        (("quota", "pause", "acme"), "--reason"),
        (("throttle", "tenant", "acme", "--to", "100%", *ABOUT), "--to '100%': write per cent"),
        (("throttle", "resource", "scan", "--to", "half", *ABOUT), "--to 'half': write per cent"),
        (("pool", "set-capacity", "slots", "scan=many", *ABOUT), "write a whole number of units"),
    ],
)
async def test_what_cannot_be_read_is_told_in_a_line(
    desk: Desk, arguments: tuple[str, ...], said: str
) -> None:
    assert said in (await desk.headgate(*arguments)).refusal
