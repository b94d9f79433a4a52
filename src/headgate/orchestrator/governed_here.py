"""Which of a worker's activities are governed: by ``@governed``, or by the plugin's table."""

import difflib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from temporalio import activity

from headgate.model.errors import ConfigurationError
from headgate.orchestrator.functions import fit_each_other
from headgate.orchestrator.governed import GovernedActivity, GovernedTable, how_governed

_LOG = logging.getLogger("headgate.plugin")
_MISSPELT: Final = 0.7
"""How alike two names are that were perhaps meant to be one: ``scna`` and ``scan`` are by 0.75."""


def governed_activities(
    activities: Iterable[Callable[..., Any]], table: GovernedTable
) -> dict[str, GovernedActivity]:
    """Return how each of a worker's activities is governed, by its type.

    Args:
        activities: Of the worker.
        table: What else is governed.

    Raises:
        ConfigurationError: One is governed in code and in the table, calls a downstream that the
            file of the table does not list, has other arguments than the function of its units, or
            has no type.
    """
    found = {name: GovernedActivity(call) for name, call in table.calls.items()}
    for function in activities:
        how = how_governed(function)
        if how is None:
            continue
        name = _type(function)
        if name is None:
            raise ConfigurationError(
                "@governed stands at a dynamic activity, which has no type of its own: leave it "
                "out, and write the types that are governed into the table of the plugin"
            )
        table.require_listed(name, how.call)
        if how.units_of is not None and not fit_each_other(how.units_of, function):
            arguments = ", ".join(inspect.signature(function).parameters)
            raise ConfigurationError(
                f"@governed: units of activity {name} cannot be called with the arguments of the "
                f"activity ({arguments}): write a function that takes them and returns the units "
                "of a call"
            )
        if name in table.calls:
            raise ConfigurationError(
                f"activity {name} is governed twice: by @governed and in the table of the plugin; "
                "leave one of them"
            )
        found[name] = how
    return found


def tell_what_is_governed(
    task_queue: str,
    activities: Iterable[Callable[..., Any]],
    governed: Mapping[str, GovernedActivity],
) -> None:
    """Log which activities of a worker are governed, and which names are perhaps misspelt.

    The table may name activities of other workers: one that is not here is no mistake by itself.

    Args:
        task_queue: Of the worker.
        activities: Of the worker.
        governed: What ``governed_activities`` has returned for it.
    """
    here = {*map(_type, activities)}
    if not here:
        return
    others = sorted(governed.keys() - here)
    _LOG.info(
        "of the activities of task queue %s there are governed: %s; also in the table: %s",
        task_queue,
        ", ".join(sorted(governed.keys() & here)) or "none",
        ", ".join(others) or "none",
    )
    left = sorted(name for name in here if name and name not in governed)
    for name in () if None in here else others:  # a dynamic activity is of any type
        for meant in difflib.get_close_matches(name, left, n=1, cutoff=_MISSPELT):
            _LOG.warning(
                "the table of governed activities names %s, which is no activity of task queue %s; "
                "did you mean %s? That one is not governed",
                name,
                task_queue,
                meant,
            )


def _type(function: Callable[..., Any]) -> str | None:
    """Return the type of an activity; None: it is dynamic, for all that have no other."""
    return activity._Definition.must_from_callable(function).name
