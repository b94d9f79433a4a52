"""Functions that users give are looked at when they are given, not when they are called first."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, cast

import pytest
from temporalio import activity

from headgate import HeadgatePlugin, governed
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.governed import GovernedTable
from headgate.orchestrator.governed_here import governed_activities


class Pages:
    """Can be called, in one way or the other."""

    def of(self, size: int) -> int:
        return size

    async def later(self, size: int) -> int:
        return size

    def __call__(self, size: int) -> int:
        return size


class Later:
    async def __call__(self) -> str:
        return "acme"


def start(function: Callable[..., Any]) -> None:
    """Do what a worker with this activity does of it at its start."""
    governed_activities([function], GovernedTable())


@pytest.mark.parametrize("tenant", [lambda info: "acme", Later(), Pages(), partial(Pages().of)])
def test_a_tenant_that_takes_arguments_or_answers_later_is_refused(tenant: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"tenant is .*: write a plain function without"):
        HeadgatePlugin(tenant=tenant)


@pytest.mark.parametrize(
    "tenant", [lambda: "acme", lambda *_: "acme", lambda name="acme": name, str, partial(str, 1)]
)
def test_a_tenant_that_can_be_called_without_arguments_will_do(tenant: Any) -> None:
    HeadgatePlugin(tenant=tenant)


@pytest.mark.parametrize("units", [lambda: 1, lambda a, b, c: 1, lambda *, size: size])
def test_units_that_cannot_be_called_as_the_activity_are_refused_at_start(units: Any) -> None:
    @governed(downstream="scanner", units=units)
    @activity.defn
    async def scan(size: int, deep: bool = False) -> None: ...

    says = r"@governed: units of activity scan cannot .* activity \(size, deep\): write a function"
    with pytest.raises(ConfigurationError, match=says):
        start(scan)


@pytest.mark.parametrize(
    "units",
    [
        lambda size: size,
        lambda size, deep: size,
        lambda *arguments: 1,
        lambda size, *, factor=2: size * factor,
        int,  # does not say what it takes
        Pages(),
        Pages().of,
    ],
)
def test_units_that_can_be_called_as_the_activity_will_do(units: Any) -> None:
    @governed(downstream="scanner", units=units)
    @activity.defn
    async def scan(size: int, deep: bool = False) -> None: ...

    start(scan)


def test_of_a_method_and_of_a_wrapper_it_counts_what_they_are_called_with() -> None:
    class Scanner:
        @governed(downstream="scanner", units=lambda size: size)
        @activity.defn
        async def scan(self, size: int) -> None: ...

    start(Scanner().scan)

    def with_session(function: Any) -> Any:
        @wraps(function)
        async def call(size: int) -> None:
            await function("session", size)

        return call

    @governed(downstream="scanner", units=lambda size: size)
    @with_session
    async def scan(session: str, size: int) -> None: ...

    start(activity.defn(scan))


def test_a_classify_that_does_not_take_one_argument_is_refused() -> None:
    def unfit() -> str:
        return "success"

    with pytest.raises(ConfigurationError, match="classify cannot be called with one argument"):
        governed(downstream="scanner", classify=cast("Any", unfit))
