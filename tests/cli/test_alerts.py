"""headgate alerts and headgate notifier: looking, sending again, silencing, trying channels."""

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from headgate.cli.main import main
from headgate.cli.worker import governance_worker
from headgate.devstack.process import GuardedProcess
from headgate.devstack.stack import Stack
from headgate.model.entity import NOTIFY, Notification
from headgate.model.errors import ConfigurationError
from headgate.store.database import Database
from tests.cli.command import ENVIRON, HEADGATE, Answer, run
from tests.harness import eventually
from tests.notifier.site import SECRET, VARIABLE, Endpoint, Site, alert, crossing, webhook
from tests.store.fresh_database import migrated_database


class Office(Site):
    """A Notifier that delivers, two channels, and the command line."""

    def __init__(
        self, database: Database, resources: AsyncExitStack, dsn: str, temporal: str
    ) -> None:
        super().__init__(database, resources)
        self.environ = {
            "HEADGATE_DATABASE_URL": dsn,
            "TEMPORAL_ADDRESS": temporal,
            "COLUMNS": "80",
        }
        self.ops, self.own = Endpoint(), Endpoint()

    async def open(self) -> None:
        ops, own = await self.serve(self.ops.app()), await self.serve(self.own.app())
        await self.apply(channels={"ops": webhook(ops), "own": webhook(own, tenant="acme")})

    async def headgate(self, *arguments: str) -> Answer:
        """Run a command in this process, in a thread of its own: a new one takes seconds."""
        return await asyncio.to_thread(self._headgate, *arguments)

    def _headgate(self, *arguments: str) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patched,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patched.setattr("sys.argv", ["headgate", *arguments])
            for name, value in self.environ.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main()
        code = end.value.code
        assert isinstance(code, int)
        return Answer(code, out.getvalue(), err.getvalue())

    async def done(self, *arguments: str) -> str:
        answer = await self.headgate(*arguments)
        assert (answer.code, answer.err) == (0, ""), answer.err
        if "--json" not in arguments:
            assert max(map(len, answer.out.splitlines()), default=0) <= 80, answer.out
        return answer.out

    async def parsed(self, *arguments: str) -> Any:
        return json.loads(await self.done(*arguments, "--json"))

    async def refused(self, *arguments: str) -> str:
        return (await self.headgate(*arguments)).refusal


@pytest_asyncio.fixture
async def office(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setenv(VARIABLE, SECRET)
    async with (
        migrated_database(stack.dsn) as dsn,
        Database(dsn) as database,
        AsyncExitStack() as resources,
    ):
        opened = Office(database, resources, dsn, stack.temporal_address)
        await opened.open()
        yield opened


async def test_alerts_are_listed_shown_and_sent_again(office: Office) -> None:
    answer = await run("alerts", "list", environ=office.environ)
    assert (answer.code, answer.out, answer.err) == (0, "no alerts\n", "")
    office.ops.answers = [503]
    await office.tell(alert(1))
    said = await office.done("alerts", "list")
    assert "critical  scanner-1 is cut off" in said
    assert "ops: not taken yet, 1 attempts: channel ops: http://127.0.0.1" in said
    await office.try_again()
    await office.tell(crossing("acme"))
    (newest, oldest) = await office.parsed("alerts", "list")
    assert [one["alert"]["id"] for one in (newest, oldest)] == [crossing("acme").id, alert(1).id]
    assert [(one["channel"], one["state"]) for one in newest["deliveries"]] == [
        ("ops", "delivered"),
        ("own", "delivered"),
    ]
    only = await office.parsed("alerts", "list", "--kind", "quota.*", "--tenant", "acme")
    assert [one["alert"]["id"] for one in only] == [crossing("acme").id]
    assert await office.parsed("alerts", "list", "--state", "pending") == []
    still = await office.parsed("alerts", "list", "--open")
    assert [one["alert"]["id"] for one in still] == [crossing("acme").id]
    assert await office.parsed("alerts", "list", "--open", "--severity", "info") == []
    await office.tell(crossing("acme", status="resolved", sequence=2))
    assert await office.done("alerts", "list", "--open") == "no alerts\n"

    shown = await office.done("alerts", "show", alert(1).id)
    assert "scanner-1 is cut off (critical, firing)" in shown
    assert "answered 503" in shown
    attempts = (await office.parsed("alerts", "show", alert(1).id))["attempts"]
    assert [one["outcome"] for one in attempts] == ["refused", "delivered"]

    before = len(office.ops.requests)
    await office.done("alerts", "resend", alert(1).id, "--reason", "lost by the chat")
    await office.notifier.work()
    assert office.ops.ids[before:] == [alert(1).id]
    office.ops.require_one_content_for_each_id()
    audit = await office.database.fetch("SELECT reason, action, target FROM audit")
    assert ("lost by the chat", "resend", f"alert/{alert(1).id}") in [tuple(row) for row in audit]


async def test_alerts_are_searched_and_older_ones_looked_through(office: Office) -> None:
    await office.tell(alert(1), crossing("acme"), crossing("globex"))
    found = await office.parsed("alerts", "list", "--search", "GLOBEX")
    assert [one["alert"]["id"] for one in found] == [crossing("globex").id]
    said = await office.done("alerts", "list", "-n", "1")
    (hint,) = re.findall(r"older ones with --before (\d+)", said)
    older = await office.parsed("alerts", "list", "--before", hint)
    assert len(older) == 2 and all(one["seq"] < int(hint) for one in older)


async def test_what_would_be_sent_or_silenced_is_told_and_not_done(office: Office) -> None:
    await office.tell(crossing("acme"))
    sent = len(office.ops.requests)
    reason, dry = ("--reason", "a drill"), "--dry-run"
    said = await office.done("alerts", "resend", crossing("acme").id, *reason, dry)
    assert said == "would be sent again to ops, own\n"
    silence = ("alerts", "silence", "--kind", "quota.*", "--for", "2h", *reason)
    trial = await office.done(*silence, dry)
    assert trial.startswith("would be no word of alerts with kind quota.* until ")
    assert "1 of 1 open alert concerned" in trial
    assert await office.parsed("alerts", "silences") == []
    made = await office.parsed(*silence)
    assert made["open_alerts"] == 1
    would = await office.done("alerts", "unsilence", made["id"], *reason, dry)
    assert would == "alerts with kind quota.* would be told of again\n"
    assert len(await office.parsed("alerts", "silences")) == 1
    await office.done("notifier", "enable", "ops", *reason, dry)
    await office.notifier.work()
    assert len(office.ops.requests) == sent
    audit = await office.database.fetch("SELECT action, how FROM audit")
    assert [tuple(row) for row in audit] == [("silence", "cli")]


async def test_a_silence_that_is_asked_for_twice_is_made_and_ended_once(office: Office) -> None:
    reason, kind = ("--reason", "a drill"), ("--kind", "quota.*", "--for", "2h")
    silence = ("alerts", "silence", *kind, *reason, "--request-id", "drill-1")
    first, again = await office.parsed(*silence), await office.parsed(*silence)
    assert first == again and first["id"] == "drill-1"
    end = ("alerts", "unsilence", "drill-1", *reason, "--request-id", "drill-2")
    assert await office.done(*end) == await office.done(*end)
    other = ("alerts", "unsilence", "drill-1", "--reason", "another", "--request-id", "drill-2")
    assert "has been used for something else" in await office.refused(*other)
    audit = await office.database.fetch("SELECT action, request_id FROM audit ORDER BY id")
    assert [tuple(row) for row in audit] == [("silence", "drill-1"), ("unsilence", "drill-2")]


async def test_what_was_told_in_a_group_is_sent_again_alone(office: Office) -> None:
    await office.tell(*(crossing(f"t{n}") for n in range(9)))
    assert len(office.ops.requests) == 1
    said = await office.done("alerts", "list", "-n", "1")
    assert "ops: delivered, in one message with others" in said
    one = crossing("t3").id
    reason = ("--reason", "because")
    assert await office.refused("alerts", "resend", "nothing", *reason) == (
        "nothing: no such alert; headgate alerts list shows the latest"
    )
    assert await office.refused("alerts", "resend", one, "--channel", "opps", *reason) == (
        "channel opps: no such channel (there is: ops, own)"
    )
    assert await office.refused("alerts", "resend", one, "--channel", "own", *reason) == (
        "channel own: is tenant acme's own, and this alert is not about its quota"
    )
    await office.done("alerts", "resend", one, *reason)
    await office.notifier.work()
    assert office.ops.ids[1:] == [one]


async def test_alerts_are_silenced_for_a_while(office: Office) -> None:
    assert await office.done("alerts", "silences") == "nothing is silenced\n"
    mistyped = ("--kind", "braker.*", "--for", "2h", "--reason", "we are moving house")
    assert "braker.* is no kind of alert (there is: " in await office.refused(
        "alerts", "silence", *mistyped
    )
    long = ("--kind", "breaker.*", "--for", "900d", "--reason", "we are moving house")
    assert "a silence lasts 365d at most" in await office.refused("alerts", "silence", *long)
    said = await office.done(
        *("alerts", "silence", "--kind", "breaker.*", "--for", "2h"),
        *("--reason", "we are moving house", "--actor", "ada"),
    )
    assert said.startswith("no word of alerts with kind breaker.* until ")
    id = said.splitlines()[-1]
    await office.tell(alert(1))
    assert office.ops.requests == []
    assert "ops: silenced: by silence " in await office.done("alerts", "list")
    table = await office.done("alerts", "silences")
    assert id in table
    assert "ada: we are moving house" in table
    await office.done("alerts", "unsilence", id, "--reason", "moved")
    assert await office.parsed("alerts", "silences") == []
    assert "no such silence holds" in await office.refused(
        "alerts", "unsilence", id, "--reason", "moved"
    )
    await office.tell(alert(2))
    assert office.ops.ids == [alert(2).id]
    audit = await office.database.fetch("SELECT actor, action FROM audit ORDER BY id")
    assert [row["action"] for row in audit] == ["silence", "unsilence"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("silence", "--for", "2h", "--reason", "a drill"),
            "nothing says which alerts: add --kind",
        ),
        (
            ("silence", "--kind", "Quota", "--for", "2h", "--reason", "a drill"),
            "kind: is no kind of",
        ),
        (
            ("silence", "--severity", "bad", "--for", "2h", "--reason", "a drill"),
            "severity: input sh",
        ),
        (
            ("silence", "--kind", "*", "--for", "2", "--reason", "a drill"),
            "--for '2': write a durat",
        ),
        (("silence", "--kind", "*", "--for", "2h", "--reason", "x"), "--reason: string should"),
        (("list", "--state", "lost"), "--state 'lost': write pending, composed"),
        (("show", "x"), "x: no such alert; headgate alerts list shows the latest"),
    ],
)
async def test_mistakes_are_told(office: Office, arguments: tuple[str, ...], said: str) -> None:
    assert (await office.refused("alerts", *arguments)).startswith(said)


async def test_a_channel_is_tried_and_enabled_again(office: Office) -> None:
    office.notifier.start()
    said = await office.done("notifier", "test", "ops", "--actor", "ada")
    assert said.startswith("ops took a test alert in ")
    (event,) = office.ops.bodies
    assert event["data"]["title"] == "Test of channel ops"
    office.ops.answers = [410]
    refusal = await office.refused("notifier", "test", "ops")
    assert "answered 410; the channel is disabled: correct it, then headgate notifier" in refusal
    assert "channel ops is disabled: channel ops:" in await office.refused(
        "notifier", "test", "ops"
    )
    assert await office.done("notifier", "enable", "ops", "--reason", "moved") == (
        "ops is tried again at once\n"
    )
    assert (await office.parsed("notifier", "test", "ops"))["channel"] == "ops"
    assert len({*office.ops.ids}) == 3
    assert await office.refused("notifier", "test", "opps") == (
        "opps is no channel (there is: ops, own): list it under notifier.channels of "
        "headgate.yaml and apply that"
    )


async def test_a_test_behind_older_alerts_tells_what_was_answered_to_those(office: Office) -> None:
    office.ops.answers = [503, 302]
    await office.tell(alert(1), alert(2))
    office.notifier.start()
    said = await office.refused("notifier", "test", "ops", "--within", "600")
    assert "answered 302; redirects are not followed, so correct its url; the test is" in said
    assert said.endswith("is tried again as all alerts are; 2 older alerts before it")


async def test_a_test_without_a_secret_tells_what_to_correct(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "not a secret")
    office.notifier.start()
    said = await office.refused("notifier", "test", "ops")
    assert f"{VARIABLE} holds no secret of the form whsec_<base64>" in said
    assert "; nothing was sent: correct it (and start the worker anew, where its env" in said


async def test_nobody_delivers_and_that_is_told(office: Office) -> None:
    said = await office.refused("notifier", "test", "ops", "--within", "1")
    assert said.startswith("channel ops: not tried within 1 s. It stays in the queue: is a gov")
    await office.notifier.work()
    assert len(office.ops.requests) == 1


async def test_the_notifier_runs_in_a_process_of_its_own(
    office: Office, stack: Stack, client: Client, task_queue: str
) -> None:
    environ = {**ENVIRON, **office.environ, "TEMPORAL_ADDRESS": stack.temporal_address}
    process = await GuardedProcess.start(
        (HEADGATE, "notifier", "run", "--task-queue", task_queue),
        name="notifier",
        log=stack.state_dir / "logs" / "notifier.log",
        env={**environ, VARIABLE: SECRET},
    )
    try:
        # What a workflow hands over on a task queue of its own, and what is there already.
        handed = await client.start_activity(
            NOTIFY,
            Notification(alerts=[alert(1)]),
            id=f"notify-{task_queue}",
            task_queue=task_queue,
            start_to_close_timeout=timedelta(seconds=30),
        )
        await handed.result()
        await office.notifier.take([alert(2)])

        async def told() -> set[str]:
            return {*office.ops.ids}

        await eventually(told, lambda ids: ids == {alert(1).id, alert(2).id}, within_s=40)
    finally:
        await process.stop()


async def test_a_worker_without_the_secrets_of_its_channels_does_not_start(
    office: Office, client: Client, task_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigurationError) as refusal:
        async with governance_worker(client, office.database, task_queue):
            pass
    assert str(refusal.value).splitlines() == [
        f"notifier.channels.{name}: the environment lacks {VARIABLE}" for name in ("ops", "own")
    ]
    async with governance_worker(client, office.database, task_queue, deliver=False):
        pass


async def test_apply_tells_which_secrets_it_does_not_see(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    channel = {"url": "https://h.example/x", "secret_env": "NOT_THERE"}
    file.write_text(json.dumps({"notifier": {"channels": {"ops": channel}}}))
    lacks = "notifier.channels.ops: the environment lacks NOT_THERE"
    assert await office.refused("apply", "-f", str(file), "--require-secrets") == lacks
    assert lacks not in str(await office.database.fetch("SELECT * FROM configuration"))
    said = await office.done("apply", "-f", str(file), "--dry-run")
    assert " ".join(said.split()).endswith(
        "this is not there where the command runs; it has to be where a governance worker runs, "
        f"which refuses to start without: {lacks}"
    )
