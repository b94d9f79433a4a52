"""``headgate why``: why does this job wait?"""

import asyncio

import typer

from headgate.cli import options
from headgate.cli.connect import connect_temporal
from headgate.cli.options import reading
from headgate.cli.tables import print_json, say
from headgate.model.why import Obstacle, WhyReport
from headgate.orchestrator.times import lasting, utc
from headgate.orchestrator.verdict import when
from headgate.orchestrator.why import explain

_MOST_NAMED = 5


def command(
    workflow_id: str = typer.Argument(help="The id of the job's workflow."),
    as_json: bool = options.JSON,
) -> None:
    """Say why a job waits: which rule, with numbers, who is in the way, and until when.

    Asks the job, its ledger, its breaker and its pool as they are now; changes nothing.
    """
    report = asyncio.run(_explain(workflow_id))
    if as_json:
        print_json(report)
    else:
        _print(report)


async def _explain(workflow_id: str) -> WhyReport:
    async with reading() as db:
        return await explain(await connect_temporal(), db, workflow_id)


def _print(report: WhyReport) -> None:
    say(report.verdict, 2)
    for number, obstacle in enumerate(report.obstacles, 1):
        if report.state == "closed":
            say(f"{number}. {obstacle.code.value}: {obstacle.message}", 3)  # it waits no more
        else:
            _print_obstacle(number, obstacle, report.at_ms)
    for held in report.holds:
        expires = ""
        if held.expires_at_ms is not None:
            expires = f", ends in {lasting(held.expires_at_ms - report.at_ms)} if not given back"
        say(
            f"holds {held.units} {held.resource} of {held.tenant} since {utc(held.since_ms)}"
            f"{expires} (permit {held.id})",
            2,
        )
    for note in report.notes:
        say(f"note: {note}", 2)


def _print_obstacle(number: int, one: Obstacle, now_ms: int) -> None:
    say(f"{number}. {one.code.value}: {one.message}; {when(one, now_ms)}", 3)
    _print_some(
        "held by",
        [
            f"{permit.workflow_id}: {permit.units_of(one.resource)} for "
            f"{lasting(now_ms - permit.granted_at_ms)}"
            for permit in one.holders
        ],
    )
    _print_some(
        "ahead",
        [
            f"{waiter.workflow_id}: {waiter.units_of(one.resource)} for "
            f"{lasting(now_ms - waiter.since_ms)}"
            for waiter in one.ahead
        ],
    )
    _print_some(
        "in the pool",
        [
            f"{part.tenant}: holds {part.held}, may hold {part.allocated}, wants {part.wanted}"
            + (f", guaranteed {part.guaranteed}" if part.guaranteed else "")
            for part in one.parts
        ],
    )


def _print_some(label: str, lines: list[str]) -> None:
    """Print a line for each of the first few, under one label."""
    more = len(lines) - _MOST_NAMED
    for number, line in enumerate(lines[:_MOST_NAMED]):
        print(f"   {label if number == 0 else '':12} {line}")
    if more > 0:
        print(f"   {'':12} and {more} more")
