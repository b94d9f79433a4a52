"""What the demo's downstreams take for too much."""

from contextlib import ExitStack

from headgate.devstack.observer import Observer
from headgate.model.configuration import Configuration

CONFIGURATION = Configuration.model_validate(
    {
        "tenants": {
            name: {"quotas": {"scan": {}, "sign": {"max_active": 1}}} for name in ("acme", "globex")
        },
        "pools": {"slots": {"resource": "scan", "capacity": 2}},
    }
)


def watched(*calls: tuple[str, str]) -> Observer:
    """An observer of calls that all go on at once."""
    observer = Observer(CONFIGURATION)
    with ExitStack() as going_on:
        for tenant, resource in calls:
            going_on.enter_context(observer.call("scanner", tenant, resource))
    return observer


def test_more_than_a_quota_or_a_pool_has_is_too_much() -> None:
    assert watched(("acme", "sign"), ("globex", "sign")).over_grants() == 0
    assert watched(("acme", "sign"), ("acme", "sign")).over_grants() == 1
    assert watched(("acme", "scan"), ("globex", "scan")).over_grants() == 0
    assert watched(*[("acme", "scan"), ("globex", "scan")] * 2).over_grants() == 2


def test_what_people_have_changed_is_not_judged_from_then_on() -> None:
    observer = watched(("acme", "sign"), ("acme", "sign"), *[("acme", "scan")] * 3)
    (at_ms, quota), (_, pool) = observer.excesses
    assert (quota, pool) == ("ledger/acme", "governor/slots")
    assert observer.over_grants([(at_ms, "ledger/globex")]) == 2
    assert observer.over_grants([(at_ms, quota)]) == 1
    # An override is of one resource; that of a tenant with a longer name is none of its.
    assert observer.over_grants([(at_ms, "ledger/acme/sign")]) == 1
    assert observer.over_grants([(at_ms, "ledger/acme-2/sign")]) == 2
    assert observer.over_grants([(at_ms - 60_000, quota), (at_ms - 60_000, pool)]) == 0
    assert observer.over_grants([(at_ms + 60_000, quota), (at_ms + 60_000, pool)]) == 2
