"""``headgate breaker`` and ``headgate search-attributes``, on the real stack."""

import json

import pytest

from headgate.devstack.stack import Stack
from headgate.model.policy import BreakerPolicy
from tests.cli.command import run
from tests.harness import Governance, eventually


@pytest.fixture
def environ(stack: Stack) -> dict[str, str]:
    return {"TEMPORAL_ADDRESS": stack.temporal_address, "HEADGATE_DATABASE_URL": stack.dsn}


async def test_a_breaker_is_forced_seen_and_resumed(
    governance: Governance, environ: dict[str, str], name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy())
    about = ("--actor", "ada", "--reason", "a drill")
    trial = await run("breaker", "force-open", name, *about, "--dry-run", environ=environ)
    assert trial.out == f"{name} would be FORCED_OPEN: set by ada: a drill\n"
    forced = await run("breaker", "force-open", name, *about, "--for", "30m", environ=environ)
    assert forced.out.startswith(f"{name} is FORCED_OPEN: set by ada until ")
    await eventually(
        lambda: governance.saved_breaker(name), lambda s: s is not None and s.state == "FORCED_OPEN"
    )
    shown = await run("breaker", "show", name, environ=environ)
    assert "CLOSED -> FORCED_OPEN by ada: a drill" in shown.out
    listed = await run("breaker", "list", "--json", environ=environ)
    states = {view["downstream"]: view["state"] for view in json.loads(listed.out)}
    assert states[name] == "FORCED_OPEN"
    resumed = await run("breaker", "resume", name, *about, environ=environ)
    assert resumed.out == f"{name} is CLOSED: no failures seen\n"


async def test_a_breaker_is_throttled_seen_and_resumed(
    governance: Governance, environ: dict[str, str], name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy())
    about = ("--actor", "ada", "--reason", "a drill")
    args = ("breaker", "throttle", name, "--to", "12.5%", *about, "--for", "30m")
    cut = await run(*args, environ=environ)
    said = "no failures seen; cut to 12.5% by ada until "
    assert cut.out.startswith(f"{name} is CLOSED: {said}")
    await eventually(
        lambda: governance.saved_breaker(name), lambda s: s is not None and s.throttle is not None
    )
    assert said in (await run("breaker", "show", name, environ=environ)).out
    resumed = await run("breaker", "resume", name, *about, environ=environ)
    assert resumed.out == f"{name} is CLOSED: no failures seen\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("force-open", "nobody", "--reason", "a drill"), "no breaker runs for 'nobody'"),
        (("show", "nobody"), "no breaker is known for 'nobody'"),
        (("reset", "x", "--reason", "a drill", "--actor", "a" * 300), "--actor"),
        (("reset", "x", "--reason", "no"), "--reason: string should have at least 3 characters"),
        (("shadow", "x", "--reason", "a drill", "--for", "soon"), "--for 'soon': write a duration"),
        (("force-open", "x"), "--reason"),
        (("throttle", "x", "--to", "100%", "--reason", "a drill"), "--to '100%': write per cent"),
        (("throttle", "x", "--to", "0%", "--reason", "a drill"), "--to '0%': write per cent"),
        (("throttle", "x", "--to", "half", "--reason", "a drill"), "--to 'half': write per cent"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_line(
    environ: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in (await run("breaker", *arguments, environ=environ)).refusal


async def test_search_attributes_are_registered_once(environ: dict[str, str]) -> None:
    await run("search-attributes", "--register", environ=environ)
    again = await run("search-attributes", "--register", environ=environ)
    assert again.out == "namespace default has HeadgateKind and BreakerState\n"
