"""Who would gain and lose by another division: the same on the dashboard and by the command."""

import json
import re
from collections.abc import AsyncIterator

import httpx2
import pytest_asyncio

from headgate.api.server import serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.devstack.stack import Stack
from headgate.gate.clock import now_ms
from headgate.model.configuration import Configuration
from headgate.model.pool import CapacityOverride, MemberView, PoolView
from headgate.model.quota import QuotaChanges, QuotaOverride
from headgate.quota import Ledger
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from tests.api.many import nowhere, save
from tests.api.page_text import only, problem, rows
from tests.cli.command import run_here
from tests.store.fresh_database import migrated_database
from tests.unit.ledgers import RECORD

WANTED = {"acme": 10, "globex": 10, **{f"t-{number:02}": 0 for number in range(30)}}
PATH = "/pools/site%2Fslots/what-if"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(stack: Stack) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """Two tenants that want more than there is, and thirty that want nothing; and the database."""
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        quotas = {"quotas": {"scan": {"max_active": 20}}}
        configuration = Configuration.model_validate(
            {
                "tenants": dict.fromkeys(WANTED, quotas),
                "pools": {"site/slots": {"resource": "scan", "capacity": 10}},
            }
        )
        await ConfigurationStore(database).save(configuration, "test", "test", {})
        held = {tenant: {"scan": min(4, wanted)} for tenant, wanted in WANTED.items()}
        pool = PoolView(
            pool="site/slots",
            settings=configuration.governor("site/slots"),
            capacity={"scan": 8},
            override=CapacityOverride(
                capacity={"scan": 8}, actor="ada", reason="a drill", since_ms=0
            ),
            members={
                tenant: MemberView(
                    held=held[tenant],
                    wanted={"scan": wanted},
                    allocated=held[tenant],
                    waiting={"scan": wanted - held[tenant]["scan"]},
                )
                for tenant, wanted in WANTED.items()
            },
            revision=1,
            incarnation=1,
        )
        await save(database, "governor", pool)
        changes = QuotaOverride(
            id="o-1",
            resource="scan",
            changes=QuotaChanges(max_active=7),
            begins_at_ms=0,
            ends_at_ms=now_ms() + 600_000,
            actor="ada",
            reason="a test",
        )
        globex = Ledger.begin("globex", configuration.ledger("globex"), incarnation=1)
        globex.record.overrides[changes.id] = changes
        state = RECORD.dump_json(globex.record).decode()
        await save(database, "ledger", globex.view(), state)
        forgotten = pool.model_copy(update={"pool": "forgotten"})
        await save(database, "governor", forgotten)
        service = Service(database, Temporal(nowhere), ApiSettings(open_as="test"))
        async with (
            serving(service) as base,
            httpx2.AsyncClient(base_url=base, headers={"Accept": "text/html"}) as caller,
        ):
            yield caller, dsn


async def test_other_weights_show_who_gains_and_who_loses_and_nothing_is_changed(
    served: tuple[httpx2.AsyncClient, str],
) -> None:
    caller, dsn = served
    plain = (await caller.get("/pools/site%2Fslots")).text
    assert f'href="{PATH}"' in plain and f'action="{PATH}"' in plain
    first = (await caller.get(PATH)).text
    assert 'aria-label="Forecast"' not in first
    assert [row[0].partition("▲")[0] for row in rows(first, "Quotas")][:3] == [
        "acme",
        "globex",
        "t-00",
    ]
    assert "▲ for a time: max_active 7" in first
    shown = (await caller.get(f"{PATH}?acme*scan*weight=3")).text
    assert "<h2>1 would gain, 1 would lose, 30 would have what they have</h2>" in shown
    assert [row[:6] for row in rows(shown, "Forecast")[:2]] == [
        ["acme", "4", "6", "▲ +2", "4", "10"],
        ["globex", "4", "2", "▼ −2", "4", "10"],
    ]
    assert "2 held too many: nothing new until given back" in shown
    assert 'name="acme*scan*weight"' in shown and 'value="3"' in shown
    # The command that the page names says the same.
    command = only(r"<code>(headgate pool what-if .*?)</code>", shown)
    assert command == "headgate pool what-if site/slots --quota 'acme scan weight=3'"
    words = ("pool", "what-if", "site/slots", "--quota", "acme scan weight=3")
    environ = {"HEADGATE_DATABASE_URL": dsn}
    answer = await run_here(*words, environ=environ)
    assert answer.code == 0, answer.err
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["acme", "4", "10", "4", "6", "+2", "-"] in lines, answer.out
    told = json.loads((await run_here(*words, "--json", environ=environ)).out)
    assert {one["tenant"]: one["target"] for one in told["tenants"]}["globex"] == 2
    # That people have set a capacity does not stand in the way of asking about another one.
    assert "capacity 8 scan" in shown and "With what ada has set: a drill" in shown
    larger = (await caller.get(f"{PATH}?capacity.scan=12")).text
    assert "capacity 8 → 12 scan" in larger and "ada has set" not in larger
    # Less than is guaranteed is answered as setting it would be, and not refused.
    guaranteed = {"acme": {"scan": {"guaranteed": 5}}}
    for units in (2, 0):
        wish = {"capacity": {"scan": units}, "strategy": "reserved", "quotas": guaranteed}
        said = await caller.post("/v1" + PATH, json=wish)
        assert said.status_code == 200, said.text
        assert said.json()["capacity"] == {"scan": units}
        assert [one["type"] for one in said.json()["conditions"]] == ["OVERCOMMITTED"]
    query = "acme*scan*guaranteed=5&strategy=reserved&capacity.scan=2"
    assert "OVERCOMMITTED" in (await caller.get(f"{PATH}?{query}")).text
    again = (await caller.get("/v1/pools/site%2Fslots")).json()
    assert again["data"]["members"]["acme"]["allocated"] == {"scan": 4}


async def test_the_address_has_only_what_is_different_and_changes_stay_while_others_are_looked_for(
    served: tuple[httpx2.AsyncClient, str],
) -> None:
    caller, _ = served
    empty = {f"{tenant}*scan*guaranteed": "" for tenant in WANTED}
    sent = {**empty, "acme*scan*guaranteed": " 5 ", "strategy": "reserved", "capacity.scan": ""}
    answer = await caller.get(PATH, params={**sent, "search": "t-29"})
    assert answer.status_code == 303
    to = answer.headers["location"]
    assert to == f"{PATH}?acme*scan*guaranteed=5&strategy=reserved&search=t-29"
    shown = (await caller.get(to)).text
    assert [row[0] for row in rows(shown, "Quotas")] == ["acme", "t-29"]
    assert "<option selected>reserved</option>" in shown
    assert [row[:3] for row in rows(shown, "Forecast")[:2]] == [
        ["acme", "4", "7"],
        ["globex", "4", "1"],
    ]
    cursor = re.search(r'name="cursor" value="([^"]*)"', (await caller.get(PATH)).text)
    assert cursor is not None
    more = (await caller.get(f"{PATH}?acme*scan*weight=2&cursor={cursor[1]}")).text
    found = [row[0] for row in rows(more, "Quotas")]
    assert found[0] == "acme" and found[-1] == "t-29" and "t-00" not in found


async def test_what_cannot_be_is_said_with_its_place(
    served: tuple[httpx2.AsyncClient, str],
) -> None:
    caller, dsn = served
    for query, wrong in {
        "acme*scan*weight=heavy": "quotas.acme.scan.weight is 'heavy': write a number",
        "acme*scan*weight=none": "quotas.acme.scan.weight is None: write a number",
        "capacity.scan=many": "capacity.scan is 'many': write a whole number",
        "capacity.mail=1": "pool site/slots has no resource mail",
        "acme*scan*guaranteed=11": "tenants.acme.quotas.scan: guarantees 11",
        "nobody*scan*weight=1": "the configuration lists no tenant",
        "strategy=fair": "strategy is 'fair': input should be",
    }.items():
        shown = (await caller.get(f"{PATH}?{query}")).text
        assert wrong in problem(shown), query
        assert 'aria-label="Forecast"' not in shown
    most = "&".join(f"t-{number}*scan*weight=2" for number in range(51))
    assert "quotas of 50 tenants can be tried at once" in (await caller.get(f"{PATH}?{most}")).text
    missing = await caller.get("/pools/forgotten/what-if")
    assert missing.status_code == 404 and "lists no pool" in missing.text
    environ = {"HEADGATE_DATABASE_URL": dsn}
    for words, refusal in {
        ("--quota", "acme scan"): "write a tenant, a resource and what differs",
        ("--quota", "acme scan heavy=1"): "heavy",
        ("--strategy", "fair"): "strategy",
        ("scan=many",): "scan",
    }.items():
        answer = await run_here("pool", "what-if", "site/slots", *words, environ=environ)
        assert refusal in answer.refusal, answer.err
