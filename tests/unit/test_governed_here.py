"""Which of a worker's activities are governed is said at its start."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from temporalio import activity
from temporalio.common import RawValue

from headgate import governed
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.governed import GovernedTable, checked_table
from headgate.orchestrator.governed_here import governed_activities, tell_what_is_governed

Told = list[tuple[str, str]]


@activity.defn
async def scan() -> None: ...


@activity.defn
async def bill() -> None: ...


@governed(downstream="signer")
@activity.defn
async def sign() -> None: ...


@activity.defn(dynamic=True)
async def whatever(arguments: Sequence[RawValue]) -> None: ...


def told(caplog: pytest.LogCaptureFixture, activities: list[Any], *table: str) -> Told:
    """Return what a worker says, by level, if a table has these types."""
    calls = GovernedTable(checked_table({name: {"downstream": "scanner"} for name in table}))
    caplog.set_level(logging.INFO, "headgate.plugin")
    tell_what_is_governed("jobs", activities, governed_activities(activities, calls))
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_what_is_governed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    ((level, said),) = told(caplog, [scan, bill, sign], "scan", "elsewhere")
    assert level == "INFO"
    assert said == (
        "of the activities of task queue jobs there are governed: scan, sign; also in the table: "
        "elsewhere"
    )


@pytest.mark.parametrize("misspelt", ["scann", "scna", "Scan"])
def test_a_name_that_is_nearly_that_of_an_activity_is_warned_of(
    misspelt: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, (level, said) = told(caplog, [scan, bill], misspelt)
    assert level == "WARNING"
    assert said == (
        f"the table of governed activities names {misspelt}, which is no activity of task queue "
        "jobs; did you mean scan? That one is not governed"
    )


@pytest.mark.parametrize(
    ("activities", "table"),
    [
        ([scan, bill], ["scan", "scann"]),  # scan is governed: the other is another worker's
        ([scan, bill], ["attest"]),
        ([sign, bill], ["signs"]),
        ([scan, whatever], ["scann"]),  # of any type
    ],
)
def test_a_name_that_may_well_be_another_workers_is_not(
    activities: list[Any], table: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert [level for level, _ in told(caplog, activities, *table)] == ["INFO"]


def test_a_worker_without_activities_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, [], "scan") == []


def test_an_activity_without_a_type_cannot_be_governed_in_code() -> None:
    @governed(downstream="scanner")
    @activity.defn(dynamic=True)
    async def any_of_them(arguments: Sequence[RawValue]) -> None: ...

    with pytest.raises(ConfigurationError, match="stands at a dynamic activity, which has no type"):
        governed_activities([any_of_them], GovernedTable())
