"""The applied configuration comes back as it was, and says what holds for whom."""

from pathlib import Path
from typing import Any

import pytest

from headgate.cli.configuration import read
from headgate.model.alert_rules import AlertRules
from headgate.model.configuration import Configuration
from headgate.model.errors import UnavailableError
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.store.configuration import ConfigurationStore, OutdatedError
from headgate.store.database import Database

EXAMPLE = Path(__file__).parents[2] / "examples" / "headgate.yaml"

FULL = Configuration.model_validate(
    {
        "downstreams": {
            "scanner": {"breaker": {"failure_rate": None, "consecutive_failures": 3}},
            "plain": {},
            "*": {"breaker": {"open_ms": 1_000, "window": {"seconds": 5}}},
        },
        "tenants": {
            "acme": {
                "quotas": {
                    "scan": {"max_active": 0, "rate": "7/h", "burst": 2},
                    "odd": {"rate": {"limit": 3, "period_ms": 1_234}},
                    "*": {},
                }
            },
            "*": {"quotas": {"*": {"max_active": 5}}},
        },
        "pools": {"p": {"resource": "scan", "capacity": 4, "tenants": ["acme"]}},
        "notifier": {
            "channels": {"ops": {"url": "http://127.0.0.1:1/alerts", "secret_env": "SECRET"}}
        },
    }
)


async def save(store: ConfigurationStore, configuration: Configuration) -> None:
    await store.save(configuration, "test", "because", {})


@pytest.mark.parametrize("configuration", [FULL, Configuration(), read(EXAMPLE)])
async def test_what_was_saved_is_what_is_loaded(
    own_database: Database, configuration: Configuration
) -> None:
    store = ConfigurationStore(own_database)
    assert await store.load() == Configuration()
    await save(store, configuration)
    assert await store.load() == configuration


async def test_saving_replaces_all_that_was_there(own_database: Database) -> None:
    store = ConfigurationStore(own_database)
    await save(store, FULL)
    less = FULL.model_copy(update={"tenants": {"acme": FULL.tenants["acme"]}, "pools": {}})
    await save(store, less)
    assert await store.load() == less


async def test_what_holds_for_one_subject(own_database: Database) -> None:
    store = ConfigurationStore(own_database)
    assert await store.settings_of("ledger", "acme") is None
    await save(store, FULL)

    async def breaker(name: str) -> BreakerSettings:
        found = await store.settings_of("breaker", name)
        return BreakerSettings.model_validate_json(found or "")

    async def ledger(name: str) -> LedgerSettings:
        found = await store.settings_of("ledger", name)
        return LedgerSettings.model_validate_json(found or "")

    for name in ("scanner", "plain", "unheard-of"):
        assert await breaker(name) == FULL.breaker(name)
    for name in ("acme", "unheard-of"):
        assert await ledger(name) == FULL.ledger(name)
    assert (await breaker("plain")).source == "listed"
    assert (await ledger("unheard-of")).source == "default"


async def test_the_built_in_default_holds_when_neither_the_name_nor_another_is_there(
    own_database: Database,
) -> None:
    store = ConfigurationStore(own_database)
    await save(store, Configuration(tenants={"acme": FULL.tenants["acme"]}))
    ledger = await store.settings_of("ledger", "globex")
    assert LedgerSettings.model_validate_json(ledger or "") == LedgerSettings(alerts=AlertRules())
    breaker = await store.settings_of("breaker", "scanner")
    assert BreakerSettings.model_validate_json(breaker or "") == BreakerSettings(
        alerts=AlertRules()
    )
    assert await store.settings_of("governor", "slots") is None


async def test_alert_rules_are_those_of_all_with_what_one_has_of_its_own(
    own_database: Database,
) -> None:
    wanted = Configuration.model_validate(
        {
            "alerts": {"usage_levels": [50, 100], "repeat_ms": None},
            "downstreams": {"scanner": {"alerts": {"flapping": None}}},
            # The levels are named although they are the built-in ones: those of all are others.
            "tenants": {
                "acme": {"quotas": {"scan": {}}, "alerts": {"usage_levels": [80, 90, 100]}},
                "*": {"quotas": {"scan": {}}},
            },
        }
    )
    store = ConfigurationStore(own_database)
    await save(store, wanted)
    assert await store.load() == wanted
    everywhere = AlertRules(usage_levels=[50, 100], repeat_ms=None)
    acme, other = [
        LedgerSettings.model_validate_json(await store.settings_of("ledger", name) or "").alerts
        for name in ("acme", "globex")
    ]
    assert (acme, other) == (AlertRules(repeat_ms=None), everywhere)
    text = await store.settings_of("breaker", "scanner")
    scanner = BreakerSettings.model_validate_json(text or "").alerts
    assert scanner == everywhere.model_copy(update={"flapping": None})


async def test_configuration_and_audit_are_written_together_or_not_at_all(
    own_database: Database,
) -> None:
    store = ConfigurationStore(own_database)
    change: dict[str, Any] = {"ledger/acme": {"before": None, "after": {"quotas": {}}}}
    await store.save(FULL, "ada", "a reason", change)
    row = dict((await own_database.fetch("SELECT * FROM audit"))[0])
    assert (row["actor"], row["reason"], row["action"]) == ("ada", "a reason", "apply")
    assert (row["target"], row["before"], row["after"]) == ("ledger/acme", None, {"quotas": {}})
    # Postgres cannot hold the zero byte: the audit fails, and the configuration with it.
    with pytest.raises(UnavailableError):
        await store.save(Configuration(), "ada\0", "a reason", change)
    assert await store.load() == FULL
    assert await own_database.fetch_value("SELECT count(*) FROM audit") == 1


async def test_what_somebody_else_has_applied_meanwhile_is_not_undone(
    own_database: Database,
) -> None:
    store = ConfigurationStore(own_database)
    seen = await store.load()
    await store.save(FULL, "ada", "a reason", {}, based_on=seen)
    with pytest.raises(OutdatedError):
        await store.save(Configuration(), "bob", "a reason", {}, based_on=seen)
    assert await store.load() == FULL
    await store.save(Configuration(), "bob", "a reason", {}, based_on=FULL)
    assert await store.load() == Configuration()
