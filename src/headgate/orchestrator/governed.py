"""``@governed``: calls that are admitted right before they are made, without the job asking.

    @governed(downstream="scanner", resource="scan")
    @activity.defn
    async def scan(job: Job) -> Report: ...

The worker's plugin admits each execution in the process that makes it and records its outcome;
nothing of that is in the job's history.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import ValidationError

from headgate.model.consistency import not_listed
from headgate.model.errors import ConfigurationError
from headgate.model.governed import GovernedCall, GovernedCalls
from headgate.orchestrator.functions import is_async, takes
from headgate.orchestrator.mistakes import first_mistake, shown
from headgate.orchestrator.own_rule import Classify, OwnRule

_MARK: Final = "__headgate_governed__"
_EXAMPLE: Final = "such as {'scan': {'downstream': 'scanner'}}"
Function = TypeVar("Function", bound=Callable[..., Any])
UnitsOf = Callable[..., int]


@dataclass(frozen=True, slots=True)
class GovernedActivity:
    """How an activity is governed, with what only code can say.

    Attributes:
        call: The same as in a file.
        units_of: Returns the units of a call from the activity's arguments.
        own_rule: Says what the end of a call means; None: the built-in rules and those of the
            configuration say.
    """

    call: GovernedCall
    units_of: UnitsOf | None = None
    own_rule: OwnRule | None = None


def governed(
    *,
    downstream: str,
    resource: str | None = None,
    units: int | UnitsOf | None = None,
    hold: Literal["call", "job"] = "call",
    priority: int = 0,
    classify: Classify | None = None,
) -> Callable[[Function], Function]:
    """Govern an activity; stands above or below ``@activity.defn``.

    Args:
        downstream: What it calls; its breaker is asked before every call.
        resource: What a call takes of its tenant's quotas. None: nothing; with ``units`` or
            ``hold="job"``, which say that it takes something, the resource with the name of the
            downstream.
        units: How much of it, or a function of the activity's arguments that says so. None: 1.
        hold: ``call``: for as long as the call lasts; ``job``: from the first such call of a job
            until the job ends. What that call took is what the job holds: later calls of the job
            take no more, whatever they ask for.
        priority: The higher is served before the lower of the same tenant.
        classify: Says of a result or an exception ``success``, ``failure`` or ``ignored``; None,
            also as an answer: the rules of the configuration say. They also do where it fails or
            says anything else, which is logged once.

    Raises:
        ConfigurationError: A name, a number or a function is not valid, or it is governed already.
    """
    units_of = units if callable(units) else None
    _require_plain("units", units_of, "the units of a call")
    _require_plain("classify", classify, "success, failure or ignored, or None")
    if classify is not None and not takes(classify, 1):
        raise ConfigurationError(
            "@governed: classify cannot be called with one argument: write a function of the "
            "result or the exception of a call"
        )
    given = {"downstream": downstream, "hold": hold, "priority": priority}
    if resource is not None:
        given["resource"] = resource
    if units is not None:
        given["units"] = 1 if callable(units) else units
    try:
        call = GovernedCall.model_validate(given, strict=True)
    except ValidationError as error:
        raise ConfigurationError(f"@governed: {first_mistake(error, GovernedCall)}") from None

    def mark(function: Function) -> Function:
        if hasattr(function, _MARK):
            name = getattr(function, "__qualname__", function)
            raise ConfigurationError(f"@governed stands twice at {name}: leave one of them")
        own = None if classify is None else OwnRule(classify, downstream)
        setattr(function, _MARK, GovernedActivity(call, units_of, own))
        return function

    return mark


@dataclass(frozen=True, slots=True)
class GovernedTable:
    """Which activities are governed, where the code does not say so.

    Attributes:
        calls: By the type of the activity; those of other workers may be among them.
        downstreams: That there are, perhaps with ``*`` for all others; None: nobody said.
        source: The file, for people.
    """

    calls: GovernedCalls = field(default_factory=dict)
    downstreams: frozenset[str] | None = None
    source: str = ""

    def require_listed(self, activity_type: str, call: GovernedCall) -> None:
        """Refuse a call to a downstream that is not among those that there are.

        Raises:
            ConfigurationError: It is one.
        """
        if self.downstreams is None:
            return
        mistake = not_listed(call.downstream, self.downstreams)
        if mistake is not None:
            raise ConfigurationError(f"{self.source}: governed activity {activity_type}: {mistake}")


def how_governed(function: Callable[..., Any]) -> GovernedActivity | None:
    """Return what ``@governed`` says of an activity, if it stands there."""
    # A method carries the mark of its function, a callable object that of its __call__.
    for holder in (function, vars(type(function)).get("__call__")):
        how = getattr(holder, _MARK, None)
        if how is not None:
            return cast(GovernedActivity, how)
    return None


def _require_plain(option: str, function: object, returns: str) -> None:
    """Refuse what cannot be called, or gives its answer only later.

    Raises:
        ConfigurationError: It is one of these.
    """
    if function is None:
        return
    if not callable(function):
        raise ConfigurationError(
            f"@governed: {option} is {shown(function)}: write a function that returns {returns}"
        )
    if is_async(function):
        raise ConfigurationError(
            f"@governed: {option} is an async function: write a plain one that returns {returns}"
        )


def checked_table(table: Mapping[str, Any] | None) -> GovernedCalls:
    """Return a table of activity types, each entry checked.

    Raises:
        ConfigurationError: An entry is not valid.
    """
    if table is not None and not isinstance(table, Mapping):
        raise ConfigurationError(
            f"HeadgatePlugin: governed is {shown(table)}: write how activities are governed by "
            f"type, {_EXAMPLE}, or the path of a file"
        )
    checked: GovernedCalls = {}
    for name, entry in (table or {}).items():
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"governed activity {shown(name)}: write the type of the activity, {_EXAMPLE}"
            )
        if not isinstance(entry, Mapping | GovernedCall):
            raise ConfigurationError(
                f"governed activity {name} is {shown(entry)}: write how it is governed, {_EXAMPLE}"
            )
        try:
            checked[name] = GovernedCall.model_validate(
                entry if isinstance(entry, GovernedCall) else dict(entry), strict=True
            )
        except ValidationError as error:
            raise ConfigurationError(
                f"governed activity {name}: {first_mistake(error, GovernedCall)}"
            ) from None
    return checked
