"""``headgate status``, ``breakers``, ``tenants``, ``top``, ``audit`` and ``export``."""

import asyncio
import fcntl
import io
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from headgate.model.configuration import Configuration
from headgate.model.ids import workflow_id
from headgate.view.exported import plain, to_yaml
from headgate.yaml_file import read_yaml
from tests.cli.command import ENVIRON, HEADGATE
from tests.cli.conftest import Desk
from tests.cli.test_quota import ABOUT, holding, saved
from tests.harness import eventually
from tests.jobs import ScanJobInput

EXAMPLE = Path(__file__).parents[2] / "examples/headgate.yaml"


async def _ends_with(desk: Desk, code: int, *arguments: str) -> dict[str, Any]:
    async def asked() -> tuple[int, str]:
        answer = await desk.headgate(*arguments, "--json")
        return answer.code, answer.out

    _, out = await eventually(asked, lambda found: found[0] == code)
    found: dict[str, Any] = json.loads(out)
    return found


async def test_the_status_says_what_blocks_and_the_exit_code_too(desk: Desk) -> None:
    scanner, acme = desk.of("scanner"), desk.of("acme")
    await desk.apply(downstreams={scanner: {}}, tenants={acme: {"quotas": {"scan": {}}}})
    well = await _ends_with(desk, 0, "status")
    assert (well["verdict"], well["line"]) == ("flowing", "flowing; nobody waits")
    await desk.done("breaker", "force-open", scanner, *ABOUT)
    blocked = await _ends_with(desk, 1, "status")
    assert blocked["line"] == f"blocked by breaker/{scanner}; nobody waits in line"
    answer = await desk.headgate("status")
    assert (answer.code, answer.err) == (1, "")
    assert f"critical breaker/{scanner}" in answer.out
    assert "FORCED_OPEN by ada: no call passes: a drill" in answer.out
    assert f"headgate breaker show {scanner}" in answer.out


async def test_without_a_worker_the_status_is_stale(desk: Desk) -> None:
    database = desk.governance.database
    # The worker of the test beats on; what it says is moved into the past.
    await database.execute(
        "CREATE FUNCTION past() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.seen_at := now() - interval '1 hour'; RETURN NEW; END $$"
    )
    await database.execute(
        "CREATE TRIGGER past BEFORE INSERT OR UPDATE ON governance_worker "
        "FOR EACH ROW EXECUTE FUNCTION past()"
    )
    try:
        await database.execute("UPDATE governance_worker SET version = version")
        found = await _ends_with(desk, 3, "status")
    finally:
        await database.execute("DROP FUNCTION past() CASCADE")  # the database is used again
    assert "no governance worker has been seen for 60 min" in found["line"]


async def test_breakers_and_tenants_are_listed_with_what_is_left(desk: Desk) -> None:
    scanner, other, acme = desk.of("scanner"), desk.of("other"), desk.of("acme")
    quotas = {"scan": {"max_active": 2}}
    await desk.apply(
        downstreams={scanner: {"breaker": {"min_calls": 8}}, other: {}},
        tenants={acme: {"quotas": quotas}},
    )
    listed = await saved(desk, "breakers", scanner.upper(), until="CLOSED")
    assert "100%" in listed
    assert "8 failures" in listed
    assert other not in listed
    await desk.done("breaker", "force-open", other, *ABOUT)
    open_now = await saved(desk, "breakers", "--state", "forced-open", "--json", until=other)
    assert scanner not in open_now
    shown = json.loads(await desk.done("breakers", "--limit", "1", "--json"))
    assert (shown["matching"], shown["breakers"][0]["downstream"]) == (2, other)

    async with desk.orchestrator() as jobs:
        for _ in range(3):
            await jobs.start(ScanJobInput(tenant=acme, downstream=scanner))
        await holding(desk, acme, permits=2, waiters=1)
        rows = await eventually(
            lambda: desk.done("tenants", acme, "--sort", "waiting", "--json"),
            lambda out: '"waiting": 1' in out,
        )
        [tenant] = json.loads(rows)["tenants"]
        [scan] = tenant["resources"]
        assert (scan["used"], scan["free"], scan["room"], scan["waiting"]) == (2, 0, 2, 1)
        assert acme in await desk.done("tenants", "--limit", "5")
        frame = await desk.done("top", "--once")
        assert f"{acme}" in frame
        assert "██████ 2/2" in frame


async def test_the_audit_is_searched(desk: Desk) -> None:
    acme, core = desk.of("acme"), desk.of("core")
    await desk.apply(tenants={name: {"quotas": {"scan": {}}} for name in (acme, core)})
    await desk.done("quota", "pause", acme, "--actor", "ada", "--reason", "not paid")
    await desk.done("quota", "pause", core, "--actor", "bob", "--reason", "a drill")
    by_ada = await saved(desk, "audit", "--actor", "ada", until="not paid")
    assert "a drill" not in by_ada
    found = await saved(desk, "audit", "--search", core.upper(), "--action", "pause", until="bob")
    assert "not paid" not in found
    # As the API has it: the target itself, and what is below it.
    assert "not paid" in await desk.done("audit", "--target", f"ledger/{acme}")
    assert "nothing in the audit" in await desk.done("audit", "--target", f"ledger/{acme}"[:-1])
    assert "nothing in the audit" in await desk.done("audit", "--until", "1h")
    latest = await desk.done("audit", "--limit", "1", "--action", "pause")
    (hint,) = re.findall(r"older ones with --before (\d+)", latest)
    older = json.loads(await desk.done("audit", "--action", "pause", "--before", hint, "--json"))
    assert [entry["actor"] for entry in older] == ["ada"]
    assert (older[0]["how"], older[0]["workflow"]) == ("cli", workflow_id("ledger", acme))
    entries = json.loads(await desk.done("audit", "--since", "1h", "--limit", "1", "--json"))
    assert [entry["actor"] for entry in entries] == ["bob"]
    assert "nothing in the audit matches" in await desk.done("audit", "--actor", "nobody")
    wrong = await desk.headgate("audit", "--since", "yesterday")
    assert "write a time such as 2026-11-24T22:00Z, or how long ago, such as 2h" in wrong.refusal


def test_the_example_comes_back_as_it_was(tmp_path: Path) -> None:
    _comes_back(read_yaml(EXAMPLE, Configuration, "configuration", "sections"), tmp_path)


def test_what_yaml_could_take_for_something_else_comes_back(tmp_path: Path) -> None:
    scan = {
        "rate": "600/m",
        "burst": 5,
        "time_zone": "Europe/Berlin",
        "per_day": 100,
        "paused": "yes: # no",
        "weight": 0.5,
        "reservations": [{"days": ["mon"], "begin": "18:00", "end": "08:30", "max_active": 3}],
    }
    document = {
        "downstreams": {
            "*": {"breaker": {"window": {"kind": "count", "size": 50}, "failure_rate": None}},
            "1e3": {"limit": {"max_in_flight": 4}, "depends_on": ["no"]},
            "no": {},
        },
        "tenants": {"*": {"quotas": {"*": {"max_active": 1}}}, "123": {"quotas": {"0x1f": scan}}},
    }
    _comes_back(Configuration.model_validate(document), tmp_path)


def test_nothing_comes_back_as_nothing(tmp_path: Path) -> None:
    _comes_back(Configuration(), tmp_path)


def _comes_back(configuration: Configuration, folder: Path) -> None:
    file = folder / "exported.yaml"
    file.write_text(to_yaml(plain(configuration), "2026-11-24T22:00Z"), encoding="utf-8")
    assert read_yaml(file, Configuration, "configuration", "sections") == configuration


async def test_what_is_exported_is_applied_without_a_change(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "exported.yaml"
    applied = await desk.headgate("apply", "-f", str(EXAMPLE))
    assert applied.code == 0, applied.err
    written = await desk.headgate("export", "-o", str(file))
    assert "headgate apply -f takes it back" in " ".join(written.out.split())
    again = await desk.headgate("apply", "-f", str(file))
    assert again.out.startswith("nothing to change: what runs is as the file says\n")
    assert "is there already" in (await desk.headgate("export", "-o", str(file))).refusal
    assert json.loads(await desk.done("export", "--json"))["tenants"]
    plain_file = tmp_path / "exported.json"
    said = json.loads(await desk.done("export", "--json", "-o", str(plain_file)))
    assert said == {"written_to": str(plain_file)}
    assert json.loads(plain_file.read_text(encoding="utf-8"))["tenants"]
    again = await desk.headgate("apply", "-f", str(plain_file))
    assert again.out.startswith("nothing to change: what runs is as the file says\n")
    exported = io.BytesIO((await desk.done("export")).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(exported))
    again = await desk.headgate("apply", "-f", "-")
    assert again.out.startswith("nothing to change: what runs is as the file says\n")


async def test_top_draws_at_80_columns_and_ends_with_q(desk: Desk) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    await _ends_with(desk, 0, "status")
    with terminal(80, 24) as (ours, theirs):
        before = termios.tcgetattr(theirs)
        process = await asyncio.create_subprocess_exec(
            *(HEADGATE, "top", "--every", "0.2"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**ENVIRON, **desk.environ, "TERM": "xterm", "LINES": "24"},
        )
        try:
            seen = await _until(ours, "● FLOWING", "q quit   s tenants by waiting")
            os.write(ours, b"s")
            seen = await _until(ours, "s tenants by usage")
            os.write(ours, b" ")
            seen = await _until(ours, "(paused)")
            assert "READ" in seen
            os.write(ours, b"q")
            async with asyncio.timeout(30):
                assert await process.wait() == 0
            assert termios.tcgetattr(theirs) == before
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@contextmanager
def terminal(columns: int, lines: int) -> Iterator[tuple[int, int]]:
    """Both ends of a terminal of that size."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.set_blocking(ours, False)
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


async def _until(descriptor: int, *texts: str) -> str:
    """Read what is drawn until all of this has been; return it."""
    seen, ready = "", asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ready.set)
    try:
        async with asyncio.timeout(60):
            while not all(text in seen for text in texts):
                await ready.wait()
                ready.clear()
                with suppress(BlockingIOError):
                    seen += os.read(descriptor, 65_536).decode(errors="replace")
    finally:
        loop.remove_reader(descriptor)
    return seen
