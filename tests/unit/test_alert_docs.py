"""The messages in docs/alerts.md are what the rules say, and the configuration there is valid."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml

from headgate.alerts.desk import Desk
from headgate.alerts.house import House
from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules
from headgate.model.configuration import Configuration
from headgate.model.ledger import SetThrottle
from tests.unit.test_breaker_alerts import Downstream
from tests.unit.test_episode import Outbox
from tests.unit.test_governor_alerts import hog, pool_of
from tests.unit.test_ledger_alerts import HOUR, MINUTE, NOON, command, hold, make, run_to, taken

DOCS: Final = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
LINES: Final = " ".join(DOCS.replace("\n> ", "\n").split())


def levels() -> list[Alert]:
    ledger = make(max_active=10)
    hold(ledger, *(str(n) for n in range(9)))
    for n in range(2):
        ledger.release(str(n), NOON + 10 * MINUTE)
    run_to(ledger, NOON + HOUR)
    full = make(max_active=1, max_hold_ms=24 * HOUR)
    hold(full, "a")
    run_to(full, NOON + 4 * HOUR)
    return [*taken(ledger), taken(full)[1]]


def a_window() -> list[Alert]:
    ledger = make(AlertRules(usage_levels=[100]), per_day=10, time_zone="Europe/Berlin")
    for n in range(10):
        hold(ledger, str(n))
        ledger.release(str(n), NOON)
    return taken(ledger)


def a_cut() -> list[Alert]:
    ledger = make(AlertRules(usage_levels=[100], forecast_from=None), per_day=10)
    for n in range(8):
        hold(ledger, str(n))
        ledger.release(str(n), NOON)
    command(ledger, SetThrottle(resource="scan", share=0.5, until_ms=NOON + HOUR), NOON, "cut-1")
    return taken(ledger)


def waiting() -> list[Alert]:
    ledger = make(AlertRules(usage_levels=[]), max_active=1, max_hold_ms=24 * HOUR)
    hold(ledger, "a")
    hold(ledger, "b", wait_ms=10 * HOUR)
    hold(ledger, "c", at_ms=NOON + MINUTE, wait_ms=10 * HOUR, priority=5)
    run_to(ledger, NOON + 15 * MINUTE)
    return taken(ledger)


def refused() -> list[Alert]:
    ledger = make(AlertRules(usage_levels=[]), max_active=1)
    hold(ledger, "a")
    for n in range(6):
        hold(ledger, f"no-{n}", at_ms=NOON + n * MINUTE)
    return taken(ledger)


def a_guarantee() -> list[Alert]:
    pool = pool_of()
    hog(pool)
    pool.wait(3_000)
    return pool.governor.record.alerts


def a_breaker() -> list[Alert]:
    downstream = Downstream()
    downstream.fail()
    downstream.probe(works=False)
    downstream.probe(works=True)
    opened, _, recovered = downstream.told()
    return [opened, recovered]


def a_notifier() -> list[Alert]:
    record = Outbox()
    house = House(Desk(record, "downstream/scanner"))
    house.telling(AlertRules(), NOON - 70 * MINUTE)
    house.told(AlertRules(), 12, NOON)
    return record.alerts


@pytest.mark.parametrize(
    "told", [levels, a_window, a_cut, refused, waiting, a_guarantee, a_breaker, a_notifier]
)
def test_the_examples_are_what_is_said(told: Callable[[], list[Alert]]) -> None:
    alerts = told()
    assert alerts
    for alert in alerts:
        assert f"**{alert.title}**" in LINES
        assert alert.text in LINES


def test_the_configuration_is_valid_and_says_what_holds_without_it() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    configuration = Configuration.model_validate(yaml.safe_load(text))
    assert configuration.alerts == AlertRules()
    acme = configuration.ledger("acme").alerts
    assert acme is not None
    assert (acme.usage_levels, acme.waiting_ms) == ([100], 60_000)
