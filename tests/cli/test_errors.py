"""What the commands say when something is in the way: one line, exit code 2, nothing changed."""

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headgate.cli.connect import connect_temporal
from headgate.cli.main import main
from headgate.devstack.ports import LOOPBACK
from headgate.devstack.stack import Stack
from headgate.model.errors import HeadgateError
from headgate.store.database import Database
from headgate.store.migrate import known, migrate
from headgate.version import __version__
from tests.cli.command import Answer, run, run_here
from tests.store.fresh_database import fresh_database

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "headgate.yaml")
HEADER = "submitted_at,tenant,job_type,downstream,outcome,duration_s\n"
ROW = "2024-11-20T22:00:00Z,acme,scan,scanner,success,1.5\n"
TRACE = HEADER + ROW
MIGRATIONS = [f"{step.version:04}_{step.name}" for step in known()]


@dataclass(frozen=True)
class Case:
    """A command in which {names} stand for what the site has."""

    command: str
    said: str
    environ: dict[str, str] = field(default_factory=dict)


GOOD = {"TEMPORAL_ADDRESS": "{temporal}", "HEADGATE_DATABASE_URL": "{database}"}
STARTS_SOMETHING = ("demo", "dev", "worker")
APPLY = "apply -f {example}"

CASES = {
    # Temporal
    "temporal unreachable": Case(
        APPLY, "Temporal at 127.0.0.1:1: .*refused.*TEMPORAL_ADDRESS",
        GOOD | {"TEMPORAL_ADDRESS": "127.0.0.1:1"},
    ),
    "demo, temporal unreachable": Case(
        "demo", "Temporal at 127.0.0.1:1: .*refused", {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    ),
    "temporal, a word": Case(
        APPLY, "Temporal's address is 'nonsense', which is not host:port",
        GOOD | {"TEMPORAL_ADDRESS": "nonsense"},
    ),
    "no such namespace": Case(
        APPLY, "has no namespace 'nowhere': correct TEMPORAL_NAMESPACE",
        GOOD | {"TEMPORAL_NAMESPACE": "nowhere"},
    ),
    "no such certificate": Case(
        APPLY, r"Temporal's client configuration \(the TEMPORAL_ variables\): .*No such file",
        GOOD | {"TEMPORAL_TLS_CLIENT_CERT_PATH": "/nowhere.pem"},
    ),
    "nobody to apply to": Case(
        APPLY, "no governance worker polls task queue headgate in namespace .*nothing was changed",
        GOOD | {"TEMPORAL_NAMESPACE": "lonely"},
    ),
    # Postgres
    "no database": Case("migrate", "HEADGATE_DATABASE_URL is not set: it names the Postgres"),
    "database, a word": Case(
        "migrate", "HEADGATE_DATABASE_URL is not of the form postgresql://",
        {"HEADGATE_DATABASE_URL": "hunter2"},
    ),
    "database unreachable": Case(
        "migrate", "cannot use Postgres at 127.0.0.1:1/headgate: .*check HEADGATE_DATABASE_URL",
        {"HEADGATE_DATABASE_URL": "postgresql://headgate:hunter2@127.0.0.1:1/headgate"},
    ),
    "wrong password": Case(
        "migrate", "password authentication failed", {"HEADGATE_DATABASE_URL": "{wrong}"}
    ),
    "not migrated": Case(
        "worker", f"lacks {len(MIGRATIONS)} migration.*0001_initial: run headgate migrate",
        GOOD | {"HEADGATE_DATABASE_URL": "{bare}"},
    ),
    "check, not migrated": Case(
        "migrate --check", f"lacks {', '.join(MIGRATIONS)}: run headgate migrate",
        {"HEADGATE_DATABASE_URL": "{bare}"},
    ),
    "newer database": Case(
        "migrate", "newer than this Headgate: it has migration 9999.*upgrade headgate",
        {"HEADGATE_DATABASE_URL": "{newer}"},
    ),
    "apply, newer database": Case(
        APPLY, "newer than this Headgate", GOOD | {"HEADGATE_DATABASE_URL": "{newer}"}
    ),
    # Files, ports, numbers
    "no such file": Case("apply -f {folder}/none.yaml", "none.yaml: cannot be read: No such file"),
    "mistake in the file": Case(
        "apply -f {folder}/bad.yaml", "bad.yaml:1: tenats: unknown key; did you mean tenants?"
    ),
    "port in use": Case("dev --state-dir {folder}/a --temporal-port {used}", "port {used} .*in use"
                        "|port {used} .*cannot be used"),
    "state folder is a file": Case("dev --state-dir {folder}/bad.yaml", "bad.yaml"),
    "no number": Case(
        "demo --trace {folder}/no-number.csv", "no-number.csv:3: duration_s is 'soon'; write secon"
    ),
}  # fmt: skip


ALONE = {
    "no column": Case(
        "demo --trace {folder}/no-column.csv", "no-column.csv:1: column 'duration_s' is missing"
    ),
    "bad time": Case(
        "demo --trace {folder}/good.csv --from noon", "--from 'noon' is not a time: write it like"
    ),
    "after the end": Case(
        "demo --trace {folder}/good.csv --from 2030-01-01",
        r"no call in it at or after 2030-01-01T00:00:00\+0000",
    ),
    "speed 0": Case("demo --trace {folder}/good.csv --speed 0", "--speed 0: write a number above"),
    "from without trace": Case("demo --from 2024-11-20", "--from and --speed are for a --trace"),
    "seconds 0": Case("demo --seconds 0", "--seconds 0: write a number above 0"),
    "no such command": Case("aply", "No such command 'aply'.*; see headgate --help"),
    "option of one of a group left out": Case(
        "quota override acme scan max_active=2",
        "Missing option.*--reason.*; see headgate quota override --help",
    ),
    "argument of one of a group left out": Case(
        "quota override acme --reason xx1",
        "argument .resource.; see headgate quota override --help",
    ),
    "no such one of a group": Case(
        "quota overrid acme", "No such command 'overrid'.*; see headgate quota --help"
    ),
    "option left out": Case("apply", "Missing option.*--file.*; see headgate apply --help"),
    "no word for a number": Case("demo --seconds ten", "--seconds.*valid number.*demo --help"),
    "port out of range": Case("dev --temporal-port 70000", "--temporal-port.*65535; see"),
}  # fmt: skip
"""Mistakes that are found before anything is connected, and so need no process of their own."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def answers(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Answer]]:
    """The answers to all cases; of those in a process of their own two at a time."""
    folder = tmp_path_factory.mktemp("errors")
    (folder / "no-number.csv").write_text(TRACE + ROW.replace("1.5", "soon"))
    (folder / "bad.yaml").write_text("tenats: {}\n")
    client = await Client.connect(stack.temporal_address)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(
            namespace="lonely", workflow_execution_retention_period=Duration(seconds=86_400)
        )
    )
    async with (
        fresh_database(stack.dsn) as bare,
        fresh_database(stack.dsn) as good,
        fresh_database(stack.dsn) as newer,
        fresh_database(stack.dsn) as changed,
    ):
        for dsn in (good, newer, changed):
            async with Database(dsn) as database:
                await migrate(database)
                if dsn == newer:
                    await database.execute("INSERT INTO migration VALUES (9999, 'future', 'x')")
                if dsn == changed:
                    await database.execute("UPDATE migration SET checksum = 'x'")
        with socket.create_server((LOOPBACK, 0)) as listener:
            names = {
                "temporal": stack.temporal_address,
                "database": good,
                "bare": bare,
                "newer": newer,
                "changed": changed,
                "wrong": f"postgresql://headgate:hunter2@{good.rpartition('@')[2]}",
                "example": EXAMPLE,
                "folder": str(folder),
                "used": str(listener.getsockname()[1]),
            }
            at_once = asyncio.Semaphore(2)

            async def answer(case: Case) -> Answer:
                environ = {key: value.format(**names) for key, value in case.environ.items()}
                arguments = case.command.format(**names).split()
                if arguments[0] in STARTS_SOMETHING:
                    async with at_once:
                        return await run(*arguments, environ=environ)
                return await run_here(*arguments, environ=environ)

            found = await asyncio.gather(*(answer(case) for case in CASES.values()))
            async with Database(bare) as untouched:
                assert await untouched.fetch_value("SELECT to_regnamespace('headgate')") is None
            async with Database(good) as untouched:
                assert await untouched.fetch("SELECT * FROM audit") == []
    yield {
        name: Answer(
            one.code, one.out, one.err.replace(names["used"], "{used}") if one.err else one.err
        )
        for name, one in zip(CASES, found, strict=True)
    }


@pytest.mark.parametrize("name", CASES)
async def test_what_is_in_the_way_is_told_in_a_line(answers: dict[str, Answer], name: str) -> None:
    answer = answers[name]
    if CASES[name].command.startswith("demo") and "starting" in answer.err:
        # What the demo tells of its start comes before.
        answer = Answer(answer.code, answer.out, answer.err.partition("\n")[2])
    if CASES[name].command.startswith("dev"):
        answer = Answer(answer.code, answer.out.partition("starting")[0], answer.err)
    refusal = answer.refusal
    assert re.search(CASES[name].said.replace("{", r"\{").replace("}", r"\}"), refusal), refusal
    assert "hunter2" not in refusal


async def test_migrate_says_what_it_does(stack: Stack) -> None:
    async with fresh_database(stack.dsn) as dsn:
        environ = {"HEADGATE_DATABASE_URL": dsn}
        where = dsn.rpartition("@")[2]
        first = await run_here("migrate", environ=environ)
        assert (first.code, first.err) == (0, "")
        applied = "".join(f"applied {name}\n" for name in MIGRATIONS)
        assert first.out == f"{applied}{where} is up to date\n"
        for arguments in (["migrate"], ["migrate", "--check"]):
            again = await run_here(*arguments, environ=environ)
            assert (again.code, again.out, again.err) == (0, f"{where} is up to date\n", "")


async def test_version_and_help() -> None:
    version, bare, asked = await asyncio.gather(run("--version"), run(), run("demo", "--help"))
    assert (version.code, version.out) == (0, f"headgate {__version__}\n")
    assert (bare.code, bare.err) == (0, "")
    assert all(name in bare.out for name in ("apply", "migrate", "worker", "dev", "demo"))
    assert all(name in asked.out for name in ("--seconds", "--trace", "--from", "--state-dir"))


async def test_several_mistakes_are_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text("tenats: {}\npols: {}\n")
    answer = await run_here("apply", "-f", str(file))
    assert answer.code == 2
    assert answer.err.splitlines() == [
        f"headgate: {file}:1: tenats: unknown key; did you mean tenants?",
        f"headgate: {file}:2: pols: unknown key; did you mean pools?",
    ]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("temporal", "'temporal', which is not host:port"),
        ("http://127.0.0.1:7233", "'http://127.0.0.1:7233', which is not host:port"),
        ("127.0.0.1:99999", "'127.0.0.1:99999', which is not host:port"),
        ("127.0.0.1:0", "which is not host:port"),
        (":7233", "which is not host:port"),
        ("a..b:7233", "Temporal at a..b:7233: "),
        (f"{'x' * 70}.example:7233", "Temporal at x+.example:7233: "),
        ("127.0.0.1:1", "Temporal at 127.0.0.1:1: connection refused; "),
    ],
)
async def test_an_address_that_is_none_is_refused(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(HeadgateError, match=said):
        await connect_temporal()


async def test_what_is_not_temporal_is_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        with pytest.raises(HeadgateError) as refusal:
            await connect_temporal()
    assert str(refusal.value) == (
        f"Temporal at {address}: what listens there is not Temporal, or TLS is set up differently "
        "(TEMPORAL_TLS); correct TEMPORAL_ADDRESS, or start one with headgate dev"
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (RPCStatusCode.CANCELLED, "Temporal: does not answer (cancelled)"),
        (RPCStatusCode.INTERNAL, "Temporal: Timeout expired (internal)"),
    ],
)
def test_a_call_that_nobody_answers_is_told_in_plain_words(
    status: RPCStatusCode,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(*_: object, **__: object) -> None:
        raise RPCError("Timeout expired", status, b"")

    monkeypatch.setattr("headgate.cli.main.app", command)
    monkeypatch.setattr("headgate.cli.main._leave", sys.exit)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == f"headgate: {said}\n"


async def test_a_profile_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_PROFILE", "nope")
    with pytest.raises(HeadgateError, match=r"Temporal's client configuration .*'nope' not found"):
        await connect_temporal()


@pytest.mark.parametrize("name", ALONE)
def test_a_mistake_in_the_command_line_is_told_in_a_line(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "good.csv").write_text(TRACE)
    (tmp_path / "no-column.csv").write_text(TRACE.replace("duration_s", "seconds"))
    command = ALONE[name].command.format(folder=tmp_path)
    monkeypatch.setattr("sys.argv", ["headgate", *command.split()])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert isinstance(end.value.code, int)
    assert re.search(ALONE[name].said, Answer(end.value.code, said.out, said.err).refusal)


@pytest.mark.parametrize(
    ("raised", "code"),
    [(SystemExit(130), 130), (SystemExit(1), 1), (SystemExit(), 0), (KeyboardInterrupt(), 130)],
)
def test_a_command_that_ends_by_itself_does_not_wait_for_threads_either(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    left: list[int] = []

    def command(*_: object, **__: object) -> None:
        raise raised

    def leave(code: int) -> None:
        left.append(code)
        raise RuntimeError

    monkeypatch.setattr("headgate.cli.main.app", command)
    monkeypatch.setattr("headgate.cli.main._leave", leave)
    with pytest.raises(RuntimeError):
        main()
    assert left == [code]
