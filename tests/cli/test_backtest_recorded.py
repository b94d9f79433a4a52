"""``headgate backtest --since``: on what the breakers have recorded in a real Postgres."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from uuid import uuid4

from headgate.devstack.stack import Stack
from headgate.model.breaker import OUTCOME_SPAN_MS
from headgate.store.address import DATABASE_URL
from headgate.store.database import Database


async def headgate(stack: Stack, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "backtest", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, DATABASE_URL: stack.dsn},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def record(database: Database, downstream: str, rows: list[tuple[int, int, int]]) -> None:
    async with database.connection() as connection:
        await connection.executemany(
            "INSERT INTO outcome_span (downstream, at_ms, incarnation, successes, failures, "
            "ignored, slow, rejected, duration_ms) VALUES ($1, $2, 1, $3, $4, 0, 0, 7, 0)",
            [(downstream, *row) for row in rows],
        )


async def test_what_headgate_has_recorded(stack: Stack, database: Database, tmp_path: Path) -> None:
    downstream, other = f"d-{uuid4().hex[:8]}", f"d-{uuid4().hex[:8]}"
    begin_ms = (int(time.time() * 1000) - 3_600_000) // OUTCOME_SPAN_MS * OUTCOME_SPAN_MS
    day_ms = 86_400_000
    rows = [(begin_ms, 10, 0), (begin_ms + OUTCOME_SPAN_MS, 0, 10), (begin_ms - 2 * day_ms, 9, 0)]
    await record(database, downstream, rows)
    await record(database, other, [(begin_ms, 1, 0)])
    policy = tmp_path / "policy.yaml"
    policy.write_text("consecutive_failures: 4\n")

    arguments = ("--policy", str(policy), "--since", "1d", "--json")
    code, out, err = await headgate(stack, *arguments, "--downstream", downstream)
    assert code == 0, err
    assert "stretches of 10 s" in err
    told = json.loads(out)
    assert list(told["downstreams"]) == [downstream]
    # Ten good calls, then ten failing ones of which the fourth trips: one each second.
    of = told["downstreams"][downstream]
    assert (of["calls"], of["failures_admitted"], of["failures_avoided"]) == (20, 4, 6)
    assert of["transitions"][0]["at_ms"] == begin_ms + OUTCOME_SPAN_MS + 3_000

    code, out, err = await headgate(stack, *arguments)
    assert code == 0, err
    assert {downstream, other} <= set(json.loads(out)["downstreams"])

    code, out, err = await headgate(stack, *arguments, "--downstream", "never-heard-of")
    assert (code, out) == (2, "")
    assert err.startswith("headgate: what Headgate has recorded in the last 1d: there is no call")


async def test_where_a_row_of_failures_opened_the_breaker_it_does_so_again(
    stack: Stack, database: Database, tmp_path: Path
) -> None:
    downstream = f"d-{uuid4().hex[:8]}"
    begin_ms = (int(time.time() * 1000) - 3_600_000) // OUTCOME_SPAN_MS * OUTCOME_SPAN_MS
    await record(database, downstream, [(begin_ms, 40, 4)])
    policy = tmp_path / "policy.yaml"
    policy.write_text("{consecutive_failures: 4, failure_rate: null}\n")
    arguments = ("--policy", str(policy), "--since", "1d", "--json", "--downstream", downstream)
    code, out, err = await headgate(stack, *arguments)
    assert code == 0, err
    assert json.loads(out)["downstreams"][downstream]["transitions"] == []
    assert "note: in that time breakers really opened 0 times and rejected 7 calls\n" in err
    assert "consecutive_failures (4) may be met more often than is shown" in err
    await database.execute(
        "INSERT INTO breaker_transition VALUES ($1, 1, $2, 'CLOSED', 'OPEN', $3, '', $4)",
        *(downstream, begin_ms + 5_000, "consecutive_failures", {"value": 4}),
    )
    code, out, err = await headgate(stack, *arguments)
    assert code == 0, err
    first = json.loads(out)["downstreams"][downstream]["transitions"][0]
    assert (first["to"], first["reason"]) == ("OPEN", "4 calls in a row failed (limit 4)")
    assert abs(first["at_ms"] - begin_ms - 5_000) < 1_000
    assert "note: in that time breakers really opened once and rejected 7 calls\n" in err
