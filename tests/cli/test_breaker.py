"""``headgate breaker`` and ``headgate search-attributes``, on the real stack."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from headgate.devstack.stack import Stack
from headgate.model.ids import workflow_id
from headgate.model.policy import BreakerPolicy
from headgate.store.database import Database
from tests.cli.command import run_here
from tests.harness import Governance, eventually
from tests.store.fresh_database import migrated_database


@pytest.fixture
def environ(stack: Stack) -> dict[str, str]:
    return {"TEMPORAL_ADDRESS": stack.temporal_address, "HEADGATE_DATABASE_URL": stack.dsn}


async def test_a_breaker_is_forced_seen_and_resumed(
    governance: Governance, environ: dict[str, str], name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy())
    about = ("--actor", "ada", "--reason", "a drill")
    trial = await run_here("breaker", "force-open", name, *about, "--dry-run", environ=environ)
    assert trial.out == f"{name} would be FORCED_OPEN: set by ada: a drill\n"
    forced = await run_here("breaker", "force-open", name, *about, "--for", "30m", environ=environ)
    assert forced.out.startswith(f"{name} is FORCED_OPEN: set by ada until ")
    await eventually(
        lambda: governance.saved_breaker(name), lambda s: s is not None and s.state == "FORCED_OPEN"
    )
    since = ("breaker", "transitions", name)
    changes = json.loads((await run_here(*since, "--json", environ=environ)).out)
    assert [(one["source"], one["target"]) for one in changes] == [("CLOSED", "FORCED_OPEN")]
    first = await run_here(*since, "--limit", "1", "--since", "1h", environ=environ)
    assert "CLOSED -> FORCED_OPEN by ada: a drill" in first.out
    assert f"--before {changes[0]['epoch']}" in first.out
    older = await run_here(*since, "--before", str(changes[0]["epoch"]), environ=environ)
    assert older.out == "it has not changed in that time\n"
    nobody = await run_here("breaker", "transitions", f"{name}x", environ=environ)
    assert nobody.refusal == f"no breaker is known for '{name}x': see headgate breaker list"
    shown = await run_here("breaker", "show", name, environ=environ)
    assert "CLOSED -> FORCED_OPEN by ada: a drill" in shown.out
    assert not re.search(r"^until +-$", shown.out, re.MULTILINE), "of what was set"
    listed = await run_here("breaker", "list", "--json", environ=environ)
    states = {view["downstream"]: view["state"] for view in json.loads(listed.out)}
    assert states[name] == "FORCED_OPEN"
    once = ("breaker", "resume", name, *about, "--request-id", f"{name}-resume")
    for _ in range(2):  # the same command once more is answered as it was
        resumed = await run_here(*once, environ=environ)
        assert resumed.out == f"{name} is CLOSED: no failures seen\n"
    for also in ((), ("--dry-run",)):
        again = await run_here("breaker", "resume", name, *about, *also, environ=environ)
        assert again.refusal == f"nothing is set by people for {name}"


async def test_how_calls_ended_is_listed_as_the_api_does(
    governance: Governance, environ: dict[str, str], name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy())
    await governance.report(name, 1, successes=8, failures=2)

    async def outcomes() -> list[dict[str, int]]:
        listed = await run_here("breaker", "outcomes", name, "--json", environ=environ)
        found: list[dict[str, int]] = json.loads(listed.out or "[]")
        return found

    (span,) = await eventually(outcomes, lambda found: len(found) == 1)
    assert (span["successes"], span["failures"]) == (8, 2)
    table = await run_here("breaker", "outcomes", name, "--since", "10m", environ=environ)
    assert re.search(r"Z +8 +2 +0 +0 +0 +\d+$", table.out, re.MULTILINE), table.out


async def test_a_breaker_is_throttled_seen_and_resumed(
    governance: Governance, environ: dict[str, str], name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy())
    about = ("--actor", "ada", "--reason", "a drill")
    args = ("breaker", "throttle", name, "--to", "12.5%", *about, "--until")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    cut = await run_here(*args, f"{tomorrow:%Y-%m-%dT%H:%MZ}", environ=environ)
    said = f"no failures seen; cut to 12.5% by ada until {tomorrow:%Y-%m-%d %H:%M:}"
    assert cut.out.startswith(f"{name} is CLOSED: {said}")
    await eventually(
        lambda: governance.saved_breaker(name), lambda s: s is not None and s.throttle is not None
    )
    assert said in (await run_here("breaker", "show", name, environ=environ)).out
    shadow = await run_here("breaker", "shadow", name, *about, environ=environ)
    assert shadow.out.startswith(
        f"{name} is SHADOW: set by ada: a drill; only when that has ended: cut to 12.5% by ada "
    )
    resumed = await run_here("breaker", "resume", name, *about, environ=environ)
    assert resumed.out == f"{name} is CLOSED: no failures seen\n"


async def test_a_breaker_is_forced_once_and_not_by_an_old_sight(
    governance: Governance, stack: Stack, name: str
) -> None:
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        environ = {"TEMPORAL_ADDRESS": stack.temporal_address, "HEADGATE_DATABASE_URL": dsn}
        await governance.set_policy(name, BreakerPolicy())
        about = ("--actor", "ada", "--reason", "a drill")
        force = ("breaker", "force-open", name, *about, "--request-id", f"{name}-1", "--json")
        seen = str((await governance.breaker_state(name)).revision)
        first = await run_here(*force, "--if-revision", seen, environ=environ)
        again = await run_here(*force, "--if-revision", seen, environ=environ)
        assert (first.code, again.code) == (0, 0), again.err
        stale = await run_here(
            "breaker", "resume", name, *about, "--if-revision", seen, environ=environ
        )
        assert "people have changed it since revision" in stale.refusal
        other = ("breaker", "shadow", name, *about, "--request-id", f"{name}-1")
        assert (
            "has been used for something else" in (await run_here(*other, environ=environ)).refusal
        )
        view = await governance.breaker_state(name)
        assert view.state == "FORCED_OPEN"
        assert len([step for step in view.transitions if step.actor]) == 1
        (row,) = await database.fetch(
            "SELECT id, how, actor, workflow FROM api_request WHERE id = $1", f"{name}-1"
        )
        assert tuple(row) == (f"{name}-1", "cli", "cli ada", workflow_id("breaker", name))


async def test_a_breaker_is_forced_while_nobody_says_where_postgres_is(
    governance: Governance, environ: dict[str, str], name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy())
    force = ("breaker", "force-open", name, "--actor", "ada", "--reason", "a drill")
    address = {"TEMPORAL_ADDRESS": environ["TEMPORAL_ADDRESS"]}
    for where in (address, {**address, "HEADGATE_DATABASE_URL": "postgresql://127.0.0.1:1/no"}):
        forced = await run_here(*force, environ=where)
        assert forced.out == f"{name} is FORCED_OPEN: set by ada: a drill\n", forced.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reset", "x", "--reason", "a drill", "--request-id", "a b"), "--request-id: write up to"),
        (("force-open", "nobody", "--reason", "a drill"), "no breaker runs for 'nobody'"),
        (("show", "nobody"), "no breaker is known for 'nobody'"),
        (("reset", "x", "--reason", "a drill", "--actor", "a" * 300), "--actor"),
        (("reset", "x", "--reason", "no"), "--reason: string should have at least 3 characters"),
        (("shadow", "x", "--reason", "a drill", "--for", "soon"), "--for 'soon': write a duration"),
        (
            ("shadow", "x", "--reason", "a drill", "--until", "2024-02-30"),
            "--until '2024-02-30': write a time",
        ),
        (
            ("force-open", "x", "--reason", "a drill", "--until", "2024-02-28T10:00Z"),
            "--until '2024-02-28T10:00Z' has passed already",
        ),
        (
            ("force-closed", "x", "--reason", "a drill", "--for", "1h", "--until", "2124-02-28"),
            "say how long by --for or by --until, not by both",
        ),
        (("force-open", "x"), "--reason"),
        (("throttle", "x", "--to", "100%", "--reason", "a drill"), "--to '100%': write per cent"),
        (("throttle", "x", "--to", "0%", "--reason", "a drill"), "--to '0%': write per cent"),
        (("throttle", "x", "--to", "half", "--reason", "a drill"), "--to 'half': write per cent"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_line(
    environ: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in (await run_here("breaker", *arguments, environ=environ)).refusal


async def test_search_attributes_are_registered_once(environ: dict[str, str]) -> None:
    await run_here("search-attributes", "--register", environ=environ)
    again = await run_here("search-attributes", "--register", environ=environ)
    assert again.out == "namespace default has HeadgateKind and BreakerState\n"
    said = await run_here("search-attributes", "--json", environ=environ)
    assert json.loads(said.out) == {"namespace": "default", "registered": []}
