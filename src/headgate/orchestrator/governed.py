"""``@governed``: calls that are admitted right before they are made, without the job asking.

    @governed(downstream="scanner", resource="scan")
    @activity.defn
    async def scan(job: Job) -> Report: ...

The worker's plugin admits each execution in the process that makes it and records its outcome;
nothing of that is in the job's history.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import ValidationError
from temporalio import activity

from headgate.model.breaker import CallOutcome
from headgate.model.errors import ConfigurationError
from headgate.model.governed import GovernedCall, GovernedCalls

_MARK: Final = "__headgate_governed__"
Function = TypeVar("Function", bound=Callable[..., Any])
Classify = Callable[[Any], CallOutcome | str | None]
UnitsOf = Callable[..., int]


@dataclass(frozen=True, slots=True)
class GovernedActivity:
    """How an activity is governed, with what only code can say.

    Attributes:
        call: The same as in a file.
        units_of: Returns the units of a call from the activity's arguments.
        classify: Returns ``success``, ``failure`` or ``ignored`` for a result or an exception;
            None: the built-in rules and those of the configuration say.
    """

    call: GovernedCall
    units_of: UnitsOf | None = None
    classify: Classify | None = None


def governed(
    *,
    downstream: str,
    resource: str | None = None,
    units: int | UnitsOf = 1,
    hold: Literal["call", "job"] = "call",
    priority: int = 0,
    classify: Classify | None = None,
) -> Callable[[Function], Function]:
    """Govern an activity; stands above or below ``@activity.defn``.

    Args:
        downstream: What it calls; its breaker is asked before every call.
        resource: What a call takes of its tenant's quotas; None: nothing.
        units: How much of it, or a function of the activity's arguments that says so.
        hold: ``call``: for as long as the call lasts; ``job``: from the first such call of a job
            until the job ends. What that call took is what the job holds: later calls of the job
            take no more, whatever they ask for.
        priority: The higher is served before the lower of the same tenant.
        classify: Says of a result or an exception ``success``, ``failure`` or ``ignored``; None,
            also as an answer: the rules of the configuration say.

    Raises:
        ConfigurationError: A name or a number is not valid, or it is governed already.
    """
    fixed = units if isinstance(units, int) else 1
    try:
        call = GovernedCall(
            downstream=downstream, resource=resource, units=fixed, hold=hold, priority=priority
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(
            f"@governed: {'.'.join(map(str, first['loc']))} is {first['input']!r}: {first['msg']}"
        ) from None
    how = GovernedActivity(call, None if isinstance(units, int) else units, classify)

    def mark(function: Function) -> Function:
        if hasattr(function, _MARK):
            name = getattr(function, "__qualname__", function)
            raise ConfigurationError(f"@governed stands twice at {name}: leave one of them")
        setattr(function, _MARK, how)
        return function

    return mark


def governed_activities(
    activities: Iterable[Callable[..., Any]], table: Mapping[str, GovernedCall]
) -> dict[str, GovernedActivity]:
    """Return how each of a worker's activities is governed, by its type.

    Args:
        activities: Of the worker.
        table: From a file; activities of other workers may be in it, too.

    Raises:
        ConfigurationError: One is governed in code and in the table.
    """
    found = {name: GovernedActivity(call) for name, call in table.items()}
    for function in activities:
        how = _how(function)
        if how is None:
            continue
        name = activity._Definition.must_from_callable(function).name or ""
        if name in table:
            raise ConfigurationError(
                f"activity {name} is governed twice: by @governed and in the table of the plugin; "
                "leave one of them"
            )
        found[name] = how
    return found


def _how(function: Callable[..., Any]) -> GovernedActivity | None:
    # A method carries the mark of its function, a callable object that of its __call__.
    for holder in (function, vars(type(function)).get("__call__")):
        how = getattr(holder, _MARK, None)
        if how is not None:
            return cast(GovernedActivity, how)
    return None


def checked_table(table: Mapping[str, Any] | None) -> GovernedCalls:
    """Return a table of activity types, each entry checked.

    Raises:
        ConfigurationError: An entry is not valid.
    """
    checked: GovernedCalls = {}
    for name, entry in (table or {}).items():
        try:
            checked[name] = GovernedCall.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigurationError(
                f"governed activity {name}: {where} is {first['input']!r}: {first['msg']}"
            ) from None
    return checked
