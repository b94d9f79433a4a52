"""What an override does to a pool is said in the answer to it, tried or done."""

from tests.api.conftest import Desk


async def test_a_guarantee_that_the_pool_does_not_look_at_is_said_to_do_nothing(
    desk: Desk,
) -> None:
    tenant, pool = desk.of("t"), desk.of("pool")
    await desk.apply(
        tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}},
        pools={pool: {"resource": "scan", "capacity": 8}},
    )
    await desk.saved("ledger", tenant)
    operator = await desk.caller("operator")
    for changes, said in (
        ({"guaranteed": 2}, f"; pool {pool} is divided by proportional, which does not use "),
        ({"max_active": 9}, f"; pool {pool} has 8 scan, and gives {tenant} 8 at most as things "),
    ):
        action = {"kind": "override", "resource": "scan", "changes": changes, "for_ms": 60_000}
        for dry_run in (True, False):
            order = {"action": action, "reason": "a big day", "dry_run": dry_run}
            done = await operator.post(f"/v1/tenants/{tenant}/commands", json=order)
            assert done.status_code == 200, done.text
            assert said in done.json()["data"]["message"], done.text
