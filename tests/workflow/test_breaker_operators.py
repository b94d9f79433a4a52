"""What people set, what dependencies do, and how breakers are found in Temporal."""

from uuid import uuid4

import pytest
from temporalio.client import Client

from headgate.cli.worker import governance_worker
from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerCommand, BreakerView
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from headgate.orchestrator.operate import command_breaker, new_command_id
from headgate.orchestrator.search_attributes import missing, register, require_registered
from headgate.store.audit import AuditLine, AuditStore
from headgate.store.database import Database
from tests.harness import Governance, eventually

POLICY = BreakerPolicy(consecutive_failures=3, open_ms=600_000)


def a_command(action: str, **more: object) -> BreakerCommand:
    return BreakerCommand.model_validate(
        {"id": new_command_id(), "action": action, "actor": "ada", "reason": "a drill", **more}
    )


async def audited(database: Database, downstream: str, lines: int) -> list[AuditLine]:
    """What the audit has of a breaker, once that is so many lines; the latest first."""
    return await eventually(
        lambda: AuditStore(database).lines(10, target=f"breaker/{downstream}"),
        lambda found: len(found) == lines,
    )


async def test_a_forced_breaker_returns_to_what_it_would_have_been(
    governance: Governance, client: Client, database: Database, name: str
) -> None:
    await governance.set_policy(name, POLICY)
    forced = await command_breaker(client, name, a_command("force_open", for_ms=1_000))
    assert forced.state == "FORCED_OPEN"
    assert (await governance.verdict(name)).allow == "none"
    back = await eventually(lambda: governance.breaker_state(name), lambda s: s.override is None)
    assert back.state == "CLOSED"
    assert [step.rule for step in back.transitions] == ["operator", "expiry"]
    ended, begun = await audited(database, name, 2)
    assert (begun.actor, begun.action) == ("ada", "force_open")
    assert (ended.actor, ended.action) == ("headgate", "force_open_ended")
    assert (ended.at_ms, ended.reason) == (
        back.transitions[-1].at_ms,
        "the time set by ada is over",
    )
    assert ended.after is not None
    assert ended.after["state"] == "CLOSED"


async def test_shadow_lets_calls_pass_and_records_what_it_would_have_done(
    governance: Governance, client: Client, name: str
) -> None:
    await governance.set_policy(name, POLICY)
    shadow = await command_breaker(client, name, a_command("shadow"))
    await governance.report(name, 1, failures=3)
    state = await eventually(lambda: governance.breaker_state(name), lambda s: s.failures == 3)
    assert (state.state, state.own_state) == ("SHADOW", "OPEN")
    assert (await governance.verdict(name)).allow == "all"
    assert state.transitions[-1].enforced is False
    assert shadow.epoch < state.epoch
    resumed = await command_breaker(client, name, a_command("resume"))
    assert resumed.state == "OPEN"


async def test_a_throttle_is_in_the_verdict_until_its_time_is_over(
    governance: Governance, client: Client, database: Database, name: str
) -> None:
    await governance.set_policy(name, POLICY)
    cut = await command_breaker(client, name, a_command("throttle", share=0.5, for_ms=1_000))
    assert (cut.state, cut.throttle and cut.throttle.share) == ("CLOSED", 0.5)
    verdict = await governance.verdict(name)
    assert (verdict.allow, verdict.most) == ("ramp", 0.5)
    back = await eventually(lambda: governance.breaker_state(name), lambda s: s.throttle is None)
    assert [step.rule for step in back.transitions] == ["operator", "expiry"]
    assert (await governance.verdict(name)).allow == "all"
    ended, begun = await audited(database, name, 2)
    assert begun.reason == "cut to 50%: a drill"
    assert (ended.actor, ended.action) == ("headgate", "throttle_ended")
    assert ended.reason == "the throttle set by ada is over"


async def test_a_dry_run_changes_nothing_and_a_repeat_is_done_once(
    governance: Governance, client: Client, name: str
) -> None:
    await governance.set_policy(name, POLICY)
    trial = await command_breaker(client, name, a_command("force_open", dry_run=True))
    assert trial.state == "FORCED_OPEN"
    assert (await governance.breaker_state(name)).state == "CLOSED"
    command = a_command("force_closed")
    breaker = governance.breaker(name)
    first = await breaker.update("command", command, uuid4().hex, BreakerView, 10)
    again = await breaker.update("command", command, uuid4().hex, BreakerView, 10)
    assert first.epoch == again.epoch


async def test_what_operators_do_is_in_the_audit(
    governance: Governance, client: Client, database: Database, name: str
) -> None:
    await governance.set_policy(name, POLICY)
    await command_breaker(client, name, a_command("force_open"))
    (line,) = await audited(database, name, 1)
    assert (line.actor, line.reason) == ("ada", "a drill")
    assert line.before == {"state": "CLOSED"}
    assert line.after is not None
    assert line.after["state"] == "FORCED_OPEN"


async def test_a_breaker_that_does_not_run_is_refused_by_name(client: Client, name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        await command_breaker(client, name, a_command("reset"))


async def test_failures_are_not_judged_while_a_dependency_is_open(
    governance: Governance, name: str
) -> None:
    database, scanner = f"{name}-db", f"{name}-scanner"
    for subject, settings in (
        (database, BreakerSettings(policy=POLICY, source="listed", dependents=[scanner])),
        (scanner, BreakerSettings(policy=POLICY, source="listed", depends_on=[database])),
    ):
        await governance.breaker(subject).update(
            "configure", settings, uuid4().hex, BreakerView, 10
        )
    await governance.report(database, 1, failures=3)
    await eventually(
        lambda: governance.breaker_state(scanner), lambda s: s.open_dependencies == [database]
    )
    await governance.report(scanner, 1, failures=10)
    state = await eventually(lambda: governance.breaker_state(scanner), lambda s: s.failures == 10)
    assert (state.state, state.excused) == ("CLOSED", 10)


async def test_a_dependent_that_starts_late_learns_that_its_dependency_is_open(
    governance: Governance, name: str
) -> None:
    database, scanner = f"{name}-db", f"{name}-scanner"
    settings = BreakerSettings(policy=POLICY, source="listed", dependents=[scanner])
    await governance.breaker(database).update("configure", settings, uuid4().hex, BreakerView, 10)
    await governance.report(database, 1, failures=3)
    await eventually(lambda: governance.breaker_state(database), lambda s: s.state == "OPEN")
    late = BreakerSettings(policy=POLICY, source="listed", depends_on=[database])
    await governance.breaker(scanner).update("configure", late, uuid4().hex, BreakerView, 10)
    await eventually(
        lambda: governance.breaker_state(scanner), lambda s: s.open_dependencies == [database]
    )


async def test_outcomes_are_kept_by_time(
    governance: Governance, database: Database, name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy(failure_rate=None))
    await governance.report(name, 1, successes=5, failures=2)
    await governance.report(name, 2, successes=1)

    async def total() -> tuple[int, int]:
        rows = await database.fetch(
            "SELECT sum(successes)::int AS good, sum(failures)::int AS bad FROM outcome_span "
            "WHERE downstream = $1",
            name,
        )
        return rows[0]["good"], rows[0]["bad"]

    assert await eventually(total, lambda found: found == (6, 2)) == (6, 2)


async def test_the_state_can_be_searched_for_once_it_is_registered(
    stack: Stack, client: Client, database: Database, name: str
) -> None:
    if await missing(client):
        with pytest.raises(ConfigurationError, match="search-attributes --register"):
            await require_registered(client)
        await register(client)
    await eventually(lambda: missing(client), lambda names: not names)

    queue = f"searchable-{name}"
    options = EntityOptions(snapshot_every_ms=100)
    async with governance_worker(client, database, queue, search_attributes=True):
        governance = Governance(client, database, queue, options)
        await governance.set_policy(name, POLICY)
        await governance.report(name, 1, failures=3)

        async def found() -> int:
            query = f"BreakerState = 'OPEN' AND WorkflowId = 'headgate/breaker/{name}'"
            return (await client.count_workflows(query)).count

        await eventually(found, lambda count: count == 1)
