"""Request ids: what they stand for, for how long, and what the audit keeps of them."""

from headgate.model.audit import AuditEntry
from headgate.store.audit import AuditStore, write_audit
from headgate.store.database import Database
from headgate.store.requests import KEPT_S, RequestStore


async def begin(database: Database, id: str, fingerprint: bytes = b"asked") -> bool:
    return await RequestStore(database).begin(
        id, "ada", "session k1", fingerprint, "breaker/scanner", "headgate/breaker/scanner"
    )


async def made_older(database: Database, by_s: int) -> None:
    await database.execute("UPDATE api_request SET at = at - $1 * interval '1 s'", by_s)


async def test_an_id_stands_for_one_thing_for_a_day(own_database: Database) -> None:
    assert await begin(own_database, "r1")
    assert await begin(own_database, "r1"), "the same once more"
    await made_older(own_database, KEPT_S - 60)
    assert await begin(own_database, "r2")
    assert not await begin(own_database, "r1", b"something else")
    await made_older(own_database, 120)
    assert await begin(own_database, "r3")
    assert await begin(own_database, "r1", b"something else")
    left = await own_database.fetch("SELECT id FROM api_request ORDER BY id")
    assert [row["id"] for row in left] == ["r1", "r2", "r3"]


async def test_the_audit_keeps_what_was_known_of_a_request(own_database: Database) -> None:
    await begin(own_database, "r1")
    entries = [
        AuditEntry(
            at_ms=1_800_000_000_000,
            actor="ada",
            reason="the vendor is down",
            action="breaker",
            target="breaker/scanner",
            before={},
            after={},
            request_id=id,
        )
        for id in ("r1", "of-the-command-line")
    ]
    async with own_database.connection() as connection:
        await write_audit(connection, entries)
        await write_audit(connection, entries)
    await made_older(own_database, KEPT_S + 60)
    await begin(own_database, "r2")
    lines = {line.request_id: line for line in await AuditStore(own_database).lines(10)}
    assert len(lines) == 2
    assert lines["r1"].how == "session k1"
    assert lines["r1"].workflow == "headgate/breaker/scanner"
    assert lines["of-the-command-line"].how is None
