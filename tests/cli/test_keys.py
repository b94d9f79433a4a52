"""``headgate keys`` and ``headgate migrate``, on a real database."""

import json

from headgate.devstack.stack import Stack
from headgate.model.configuration import Configuration
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from tests.cli.command import run_here as run
from tests.store.fresh_database import fresh_database, migrated_database


async def test_a_database_is_prepared_and_a_key_made_and_revoked(stack: Stack) -> None:
    async with fresh_database(stack.dsn) as dsn, Database(dsn) as database:
        environ = {"HEADGATE_DATABASE_URL": dsn}
        assert "run headgate migrate" in (await run("migrate", "--check", environ=environ)).refusal
        prepared = json.loads((await run("migrate", "--json", environ=environ)).out)
        assert prepared["applied"][0] == "0001_initial" and prepared["database"]
        again = json.loads((await run("migrate", "--json", environ=environ)).out)
        assert again == {**prepared, "applied": []}

        tried = await run("keys", "create", "ci-bot", "--for", "2h", "--dry-run", environ=environ)
        assert tried.out == "ci-bot would be viewer, for 2 h; no key was made\n"
        assert "[]" in (await run("keys", "list", "--json", environ=environ)).out
        create = ("keys", "create", "ci-bot", "--actor", "ada", "--json")
        made = json.loads((await run(*create, environ=environ)).out)
        assert made["key"].startswith(f"hgk_{made['id']}_") and made["role"] == "viewer"
        revoke = ("keys", "revoke", made["id"], "--actor", "bob", "--reason", "it leaked")
        tried = await run(*revoke, "--dry-run", environ=environ)
        assert tried.out == f"{made['id']} would be revoked\n"
        revoked = await run(*revoke, "--json", environ=environ)
        assert json.loads(revoked.out) == {
            "id": made["id"],
            "revoked_by": "bob",
            "dry_run": False,
        }
        assert "that is not revoked" in (await run(*revoke, environ=environ)).refusal
        (key,) = json.loads((await run("keys", "list", "--json", environ=environ)).out)
        assert key["revoked_by"] == "bob"
        rows = await database.fetch("SELECT actor, how, action FROM audit ORDER BY id")
        assert [tuple(row) for row in rows] == [
            ("ada", "cli", "key_created"),
            ("bob", "cli", "key_revoked"),
        ]

        once = ("keys", "create", "robot", "--request-id", "robots-key", "--reason", "a new robot")
        first = await run(*once, environ=environ)
        assert first.out.startswith("hgk_"), first.err
        id = first.out[4:16]
        lost = (await run(*once, environ=environ)).refusal
        assert lost.startswith(f"this request has made key {id} already")
        other = ("keys", "create", "robby", "--request-id", "robots-key")
        assert "used for something else" in (await run(*other, environ=environ)).refusal
        revoke = ("keys", "revoke", id, "--reason", "no robots", "--request-id", "no-robots")
        for _ in range(2):  # the answer to the first was lost
            assert (await run(*revoke, environ=environ)).out == f"{id} is revoked\n"
        rows = await database.fetch("SELECT action, reason, request_id FROM audit ORDER BY id")
        assert [tuple(row) for row in rows[2:]] == [
            ("key_created", "a new robot", "robots-key"),
            ("key_revoked", "no robots", "no-robots"),
        ]


async def test_whoever_makes_the_first_key_is_told_that_all_have_to_show_one_from_then_on(
    stack: Stack,
) -> None:
    async with migrated_database(stack.dsn) as dsn:
        environ = {"HEADGATE_DATABASE_URL": dsn}
        told = "asks for a key within seconds"
        first = await run("keys", "create", "ann", environ=environ)
        assert told in " ".join(first.out.split())  # how lines break is up to the length of a key
        second = await run("keys", "create", "bob", environ=environ)
        assert told not in " ".join(second.out.split())


async def test_a_key_for_a_tenant_that_nobody_has_heard_of_is_made_with_a_warning(
    stack: Stack,
) -> None:
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        configuration = Configuration.model_validate(
            {"tenants": {"acme": {"quotas": {"scan": {}}}, "*": {"quotas": {"scan": {}}}}}
        )
        await ConfigurationStore(database).save(configuration, "test", "test", {})
        environ = {"HEADGATE_DATABASE_URL": dsn}
        said = "there is no tenant 'acne': did you mean acme?"
        create = ("keys", "create", "portal", "--tenant")
        for also in (["--dry-run"], []):
            assert said in (await run(*create, "acne", *also, environ=environ)).out
            made = json.loads((await run(*create, "acne", *also, "--json", environ=environ)).out)
            assert made["warning"] == said
            made = json.loads((await run(*create, "acme", *also, "--json", environ=environ)).out)
            assert made["warning"] is None
            admin = await run(*create, "acme", "--role", "admin", *also, "--json", environ=environ)
            assert json.loads(admin.out)["warning"] == (
                "a key for one tenant may see that one and release what it holds, and nothing "
                "else, also as admin"
            )
