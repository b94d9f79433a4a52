"""What another policy would have done, beside the present one, on what was recorded."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import httpx2
import pytest_asyncio
import yaml

from headgate.api.server import serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.devstack.stack import Stack
from headgate.gate.clock import now_ms
from headgate.model.breaker import OUTCOME_SPAN_MS
from headgate.model.policy import BreakerPolicy
from headgate.store.database import Database
from tests.api.many import nowhere, save
from tests.api.page_text import only, problem, rows
from tests.cli.command import run_here
from tests.store.fresh_database import migrated_database
from tests.unit.test_breaker import NOW_MS, make

PATH = "/downstreams/site%2Fscanner/backtest"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(stack: Stack) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """A breaker with a record of ten good calls, ten failing ones and ten good ones."""
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        breaker = make(consecutive_failures=8, open_ms=60_000, open_jitter=0)
        for name in ("site/scanner", "never-called"):
            view = breaker.view(NOW_MS).model_copy(update={"downstream": name})
            await save(database, "breaker", view)
        begin_ms = (now_ms() - 600_000) // OUTCOME_SPAN_MS * OUTCOME_SPAN_MS
        for number, (good, bad) in enumerate([(10, 0), (0, 10), (10, 0)]):
            await database.execute(
                "INSERT INTO outcome_span (downstream, at_ms, incarnation, successes, failures, "
                "ignored, slow, rejected, duration_ms) "
                "VALUES ('site/scanner', $1, 1, $2, $3, 0, 0, 3, 0)",
                *(begin_ms + number * OUTCOME_SPAN_MS, good, bad),
            )
        service = Service(database, Temporal(nowhere), ApiSettings(open_as="test"))
        async with (
            serving(service) as base,
            httpx2.AsyncClient(base_url=base, headers={"Accept": "text/html"}) as caller,
        ):
            yield caller, dsn


async def test_another_policy_stands_beside_the_present_one(
    served: tuple[httpx2.AsyncClient, str],
) -> None:
    caller, _ = served
    assert f'href="{PATH}"' in (await caller.get("/downstreams/site%2Fscanner")).text
    form = (await caller.get(PATH)).text
    assert 'name="consecutive_failures" value="" placeholder="8"' in form
    assert not rows(form, "Result")
    alone = (await caller.get(f"{PATH}?since=1h")).text
    # Eight pass and open it; the two that are left, and ten good ones, are refused.
    present = ["as it is now", "1", "12 s", "12", "2 of 10", "10", "✕ OPEN", ""]
    assert rows(alone, "Result") == [present]
    answer = await caller.get(
        PATH, params={"since": "1h", "consecutive_failures": "4", "open_ms": "", "probes": "2"}
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{PATH}?since=1h&consecutive_failures=4&probes=2"
    shown = (await caller.get(answer.headers["location"])).text
    assert rows(shown, "Result") == [
        present,
        ["as tried", "1", "16 s", "16", "6 of 10", "10", "✕ OPEN", ""],
    ]
    assert "30</span> calls were recorded" in shown and "9</span> more were rejected then" in shown
    assert [row[1:3] for row in rows(shown, "Changes of state")] == [["CLOSED", "OPEN"]]
    assert 'really opened <span class="num">0</span> times' in shown
    assert "Which failures came in a row is only recorded where that opened the breaker" in shown
    never = (await caller.get(f"{PATH}?since=1h&consecutive_failures=none")).text
    assert "Which failures came in a row" not in never
    assert " style=" not in shown and shown.count("<script") == 1


async def test_the_lines_for_the_file_and_the_command_say_the_same(
    served: tuple[httpx2.AsyncClient, str], tmp_path: Path
) -> None:
    caller, dsn = served
    query = "since=1d&window.size=50&failure_rate=none&consecutive_failures=4&slow_call_ms=none"
    shown = (await caller.get(f"{PATH}?{query}")).text
    lines = only(r"<pre>(.*?)</pre>", shown)
    policy = BreakerPolicy.model_validate(yaml.safe_load(lines))
    assert policy.window.kind == "count" and policy.window.size == 50
    assert (policy.failure_rate, policy.consecutive_failures) == (None, 4)
    assert (policy.open_ms, policy.slow_call_ms) == (60_000, None)
    file = tmp_path / "policy.yaml"
    file.write_text(lines)
    command = only(r"<code>(headgate backtest .*?)</code>", shown)
    assert command == (
        "headgate backtest --policy policy.yaml --since 1d --downstream site/scanner"
    )
    words = command.replace("policy.yaml", str(file)).split()[1:]
    answer = await run_here(*words, environ={"HEADGATE_DATABASE_URL": dsn})
    assert answer.code == 0, answer.err
    assert "6 of 10 failing calls would have been spared, 10 of 20 other calls" in answer.out


async def test_what_cannot_be_tried_is_said(served: tuple[httpx2.AsyncClient, str]) -> None:
    caller, _ = served
    for query, wrong in {
        "since=1h&min_calls=few": "min_calls is 'few': write a whole number",
        "since=1h&open_ms=none": "open_ms is None: write a whole number",
        "since=1h&failure_rate=2": "failure_rate is '2': write at most 1.0",
        "since=1h&window.seconds=9&window.size=9": "leave one of them empty",
        "open_ms=5": "open_ms is '5': write at least 10",
    }.items():
        shown = (await caller.get(f"{PATH}?{query}")).text
        assert wrong in problem(shown), query
        assert not rows(shown, "Result")
    never = (await caller.get("/downstreams/never-called/backtest?since=1h")).text
    assert "no call of 'never-called' was recorded in that time" in unescape(never)
    assert (await caller.get("/downstreams/nobody/backtest")).status_code == 404
    assert (await caller.get(f"{PATH}?since=2h")).status_code == 422
