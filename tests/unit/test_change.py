"""What ``headgate apply`` shows of a change: what somebody has said, and no defaults."""

from typing import Any

from headgate.model.configuration import Configuration
from headgate.orchestrator.change import change_of


def created(target: str, **sections: Any) -> list[str]:
    """Return what is shown of something that is new."""
    configuration = Configuration.model_validate(sections)
    kind, _, name = target.partition("/")
    settings = {
        "breaker": configuration.breaker,
        "ledger": configuration.ledger,
        "governor": configuration.governor,
    }[kind](name)
    return change_of(target, None, settings.model_dump(mode="json")).lines()


def test_what_is_all_by_default_is_only_named() -> None:
    assert created("breaker/scanner", downstreams={"scanner": {}}) == []
    assert created("ledger/acme", tenants={"acme": {"quotas": {"scan": {}}}}) == ["quotas.scan: {}"]


def test_what_is_said_to_be_off_is_shown() -> None:
    rules = {"half_open_ms": None, "repeat_ms": 14_400_000}
    breaker = {"failure_rate": None, "consecutive_failures": 3}
    downstream = {"breaker": breaker, "limit": {"concurrency": {}}, "alerts": rules}
    assert created("breaker/scanner", downstreams={"scanner": downstream}) == [
        "policy.failure_rate: none",
        "policy.consecutive_failures: 3",
        "limit.concurrency: {}",
        "alerts.half_open_ms: none",
    ]


def test_a_pool_does_not_name_everyone_who_shares_it() -> None:
    quotas: dict[str, Any] = {"quotas": {"scan": {}}}
    tenants = {"acme": {**quotas, "group": "platform"}, "globex": quotas}
    pool = {"resource": "scan", "capacity": 6}
    shown = created(
        "governor/slots", tenants=tenants, pools={"slots": pool}, groups={"platform": {}}
    )
    assert shown == ["capacity.scan: 6", "tenants.acme: platform", "groups.platform: {}"]


def test_what_goes_is_shown_like_what_is_new() -> None:
    quota = Configuration.model_validate({"tenants": {"*": {"quotas": {"*": {"max_active": 1}}}}})
    change = change_of("ledger/*", quota.tenants["*"].model_dump(mode="json"), None)
    assert (change.action, change.lines()) == ("remove", ["quotas.*.max_active: 1"])


def test_of_a_change_only_what_differs_is_shown() -> None:
    before: dict[str, Any] = {"pools": {}, "quotas": {"scan": {"rate": None, "max_active": 4}}}
    after = {"pools": {"scan": "slots"}, "quotas": {"scan": {"rate": "1/s", "max_active": 4}}}
    assert change_of("ledger/acme", before, after).lines() == [
        "pools.scan: none -> slots",
        "quotas.scan.rate: none -> 1/s",
    ]


def test_what_an_older_release_has_stored_is_shown_as_it_is() -> None:
    assert change_of("group/old", {"parent": None, "colour": "red"}, None).lines() == [
        "parent: none",
        "colour: red",
    ]
