"""The page that plays recorded calls of a downstream to another policy of its breaker."""

import shlex
from typing import Annotated, Any, Final, Literal

import yaml
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from headgate.api.dashboard.drawings import strip
from headgate.api.dashboard.forms import said, shortened
from headgate.api.dashboard.pages import Viewer
from headgate.api.dashboard.render import render
from headgate.api.problems import ProblemError
from headgate.api.reads import breaker
from headgate.api.routes.backtest import play
from headgate.api.service import service_of
from headgate.model.breaker import BreakerState
from headgate.model.contract import Name
from headgate.model.policy import BreakerPolicy
from headgate.orchestrator.mistakes import first_mistake
from headgate.simulate import BacktestOf, notes_on_record

router = APIRouter(include_in_schema=False)

Since = Literal["1h", "6h", "1d", "7d", "30d"]
_SINCE: Final[dict[Since, tuple[str, int]]] = {
    "1h": ("hour", 3_600_000),
    "6h": ("6 hours", 6 * 3_600_000),
    "1d": ("day", 86_400_000),
    "7d": ("7 days", 7 * 86_400_000),
    "30d": ("30 days", 30 * 86_400_000),
}
_FIELDS: Final = {
    "window.seconds": "calls of the last so many seconds are judged",
    "window.size": "or: the last so many calls",
    "min_calls": "before so many calls no rate is judged",
    "failure_rate": "opens at this share of failing calls",
    "consecutive_failures": "opens after so many failures in a row",
    "slow_call_ms": "a call that takes so long is slow",
    "slow_call_rate": "opens at this share of slow calls",
    "open_ms": "how long it stays open the first time",
    "open_factor": "by how much longer each time after that",
    "open_max_ms": "how long at most",
    "probes": "calls that then pass, to judge by",
    "close_at": "the share of them that must succeed",
    "ramp_ms": "how long until all calls pass again",
}
"""The fields of a policy that can be tried, and what each means."""
_MOST_STEPS: Final = 50


@router.get("/downstreams/{downstream:segment}/backtest")
async def backtest_page(
    request: Request,
    principal: Viewer,
    downstream: Name,
    since: Annotated[Since | Literal[""] | None, Query()] = None,
) -> Response:
    """Show what another policy would have done, against the present one."""
    if (shorter := shortened(request)) is not None:
        return shorter
    service, fields = service_of(request), said(request)
    present = (await breaker(service, downstream)).data.settings.policy
    tried, problem, results, really = present, None, [], None
    try:
        tried = _with(present, fields)
        if since:
            policies = [present] if tried == present else [present, tried]
            really, found = await play(service, downstream, _SINCE[since][1], policies)
            of_each = [one.downstreams[downstream] for one in found]
            end_ms = max(one.end_ms for one in of_each)
            names = ["as it is now", "as tried"]
            results = [_row(name, one, end_ms) for name, one in zip(names, of_each, strict=False)]
    except ValidationError as error:
        problem = first_mistake(error, BreakerPolicy)
    except ProblemError as error:
        problem = error.detail
    return render(
        request,
        principal,
        "backtest.html",
        downstream=downstream,
        since=since or "1d",
        sinces={name: words for name, (words, _) in _SINCE.items()},
        fields=_FIELDS,
        present=_plain(present),
        said=fields,
        problem=problem,
        recorded=really,
        notes=notes_on_record(tried),
        results=results,
        most=_MOST_STEPS,
        policy=yaml.safe_dump(
            tried.model_dump(mode="json", exclude_defaults=True), sort_keys=False
        ),
        command=f"headgate backtest --policy policy.yaml --since {since or '1d'} "
        f"--downstream {shlex.quote(downstream)}",
    )


def _plain(policy: BreakerPolicy) -> dict[str, Any]:
    """Return what a policy has of the fields, by name; null: it is not judged by this."""
    document = policy.model_dump(mode="json")
    window = document["window"]
    return {**document, "window.seconds": window.get("seconds"), "window.size": window.get("size")}


def _with(present: BreakerPolicy, fields: dict[str, str]) -> BreakerPolicy:
    """Return a policy with what is written; ``none``: not judged by this.

    Raises:
        ProblemError: Two windows are written.
        ValidationError: It is no policy.
    """
    document = present.model_dump(mode="json")
    written = {name: fields[name] for name in _FIELDS if name in fields}
    seconds, size = written.pop("window.seconds", None), written.pop("window.size", None)
    if seconds is not None and size is not None:
        raise ProblemError(
            409, "refused", "window: calls are judged by time or by number: leave one of them empty"
        )
    if seconds is not None:
        document["window"] = {"kind": "time", "seconds": seconds}
    if size is not None:
        document["window"] = {"kind": "count", "size": size}
    for name, text in written.items():
        document[name] = None if text == "none" else text
    return BreakerPolicy.model_validate(document)


def _row(name: str, of: BacktestOf, end_ms: int) -> dict[str, Any]:
    """Return what is shown of the result of one policy."""
    begins = [step.at_ms for step in of.transitions] + [of.end_ms]
    open_ms = sum(
        begins[number + 1] - step.at_ms
        for number, step in enumerate(of.transitions)
        if step.target is BreakerState.OPEN
    )
    return {
        "name": name,
        "of": of,
        "opened": sum(step.target is BreakerState.OPEN for step in of.transitions),
        "open_ms": open_ms,
        "strip": strip(of.transitions, of.state, of.begin_ms, end_ms, f"{name}, in the end"),
    }
