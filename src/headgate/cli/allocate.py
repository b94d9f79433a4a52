"""``headgate allocate``: who would get what of a pool, from a file, with nothing running."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from headgate.allocation import (
    Claim,
    Division,
    DominantClaim,
    DominantDivision,
    Group,
    divide,
    divide_dominant,
)
from headgate.model.allocation import PoolProblem, TenantClaim
from headgate.model.pool import GUARANTEEING, Condition, Strategy
from headgate.yaml_file import read_yaml

NO_WEIGHT: Final = "NO_WEIGHT"
"""Somebody wants more than is guaranteed to it, and has no weight."""

_MOST_NAMED: Final = 5


def command(
    file: Path = typer.Option(
        ..., "-f", "--file", help="The pool, YAML; see examples/pool.yaml; -: standard input."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Divide a pool between its tenants, as the governor would, and say why.

    Nothing needs to run, and nothing is changed.
    """
    problem = read_yaml(file, PoolProblem, what="pool", parts="keys")
    if isinstance(problem.capacity, dict):
        several = _divide_several(problem, problem.capacity)
        if as_json:
            conditions = [condition.model_dump() for condition in several.conditions]
            _print_json(several.allocations, several.unallocated, {}, conditions)
        else:
            _show_several(problem, problem.capacity, several)
        return
    division = _divide(problem, problem.capacity)
    if as_json:
        conditions = [condition.model_dump() for condition in division.conditions]
        _print_json(division.allocations, division.unallocated, division.held_back, conditions)
    else:
        _show(problem, problem.capacity, division)


# The problem -----------------------------------------------------------------------------------


def _divide(problem: PoolProblem, capacity: int) -> Division:
    claims = [
        Claim(
            tenant=claim.tenant,
            demand=_one(claim),
            weight=claim.weight,
            priority=claim.priority,
            guaranteed=claim.guaranteed,
            borrow_limit=claim.borrow_limit,
            lend_limit=claim.lend_limit,
            maximum=claim.max,
            fixed=claim.fixed,
            group=claim.group,
        )
        for claim in problem.tenants
    ]
    groups = [
        Group(
            name=group.group,
            parent=group.parent,
            weight=group.weight,
            priority=group.priority,
            guaranteed=group.guaranteed,
            borrow_limit=group.borrow_limit,
            lend_limit=group.lend_limit,
            maximum=group.max,
        )
        for group in problem.groups
    ]
    division = divide(capacity, problem.strategy, claims, groups)
    weightless = _weightless(problem, division)
    return replace(division, conditions=[*division.conditions, *weightless])


def _weightless(problem: PoolProblem, division: Division) -> list[Condition]:
    """Name those that want more and have no weight: they get what is guaranteed and no more."""
    if problem.strategy in (Strategy.FIXED, Strategy.UNLIMITED):
        return []  # weights do not count
    lacking = [
        f"{one.tenant} wants {_one(one):,} and gets {division.allocations[one.tenant]:,}"
        for one in problem.tenants
        if one.weight == 0 and division.allocations[one.tenant] < _one(one)
    ]
    if not lacking:
        return []
    shown = "; ".join(lacking[:_MOST_NAMED])
    more = len(lacking) - _MOST_NAMED
    what = "its guarantee" if problem.strategy in GUARANTEEING else "nothing"
    message = f"weight 0 gets {what} and no more: {shown}" + (f" and {more:,} more" * (more > 0))
    return [Condition(type=NO_WEIGHT, message=message)]


def _divide_several(problem: PoolProblem, capacities: dict[str, int]) -> DominantDivision:
    equal = problem.strategy is Strategy.EQUAL
    claims = [
        DominantClaim(claim.tenant, _several(claim), 1 if equal else claim.weight)
        for claim in problem.tenants
    ]
    return divide_dominant(capacities, claims)


def _one(claim: TenantClaim) -> int:
    assert isinstance(claim.demand, int)  # the contract has seen to it
    return claim.demand


def _several(claim: TenantClaim) -> dict[str, int]:
    assert isinstance(claim.demand, dict)
    return claim.demand


# The result ------------------------------------------------------------------------------------


def _print_json(
    allocations: object, unallocated: object, held_back: object, conditions: object
) -> None:
    result = {
        "allocations": allocations,
        "unallocated": unallocated,
        "held_back": held_back,
        "conditions": conditions,
    }
    print(json.dumps(result, indent=2))


def _show(problem: PoolProblem, capacity: int, division: Division) -> None:
    table = _table("Demand", "Guaranteed", "Gets", "Borrowed")
    guaranteeing = problem.strategy in GUARANTEEING
    gets = division.allocations
    for claim in sorted(problem.tenants, key=lambda claim: claim.tenant):
        given = gets[claim.tenant]
        counts_as = division.scaled.get(claim.tenant, claim.guaranteed)
        borrowed = max(0, given - counts_as)
        guaranteed = f"{claim.guaranteed:,}"
        if counts_as < claim.guaranteed:
            guaranteed = f"{counts_as:,} of {guaranteed}"
        table.add_row(
            claim.tenant,
            f"{_one(claim):,}",
            guaranteed if guaranteeing else "-",
            f"{given:,}",
            f"{borrowed:,}" if guaranteeing else "-",
            _why(problem, claim, given, counts_as, division.held_back.get(claim.tenant, 0)),
        )
    table.add_section()
    demand = f"{sum(map(_one, problem.tenants)):,}"
    table.add_row("all", demand, "", f"{sum(gets.values()):,}", "", "", style="bold")
    console = Console(highlight=False)
    console.print(table)
    left = f"{division.unallocated:,} of {capacity:,} units are left"
    if held := sum(division.held_back.values()):
        left += f", {held:,} of them held back"
    console.print(f"\n{left} ({problem.strategy.value}).", soft_wrap=True)
    _show_conditions(console, division.conditions)


def _why(
    problem: PoolProblem, claim: TenantClaim, given: int, guaranteed: int, held_back: int
) -> str:
    """Return in few words what a tenant's part was decided by."""
    why = _limit(problem, claim, given, guaranteed)
    return f"{why}; holds {held_back:,} back" if held_back else why


def _limit(problem: PoolProblem, claim: TenantClaim, given: int, guaranteed: int) -> str:
    guaranteeing = problem.strategy in GUARANTEEING
    if given == _one(claim):
        return "all it wants" if given else "wants nothing"
    if given == claim.max:
        return "its max"
    if problem.strategy is Strategy.FIXED:
        if claim.fixed is None:
            return "has no fixed part"
        return "its fixed part" if given == claim.fixed else "its fixed part, cut"
    if guaranteeing and given < guaranteed:
        return "its guarantee, cut"
    if guaranteeing and claim.borrow_limit == given - guaranteed:
        return "its borrow limit"
    if claim.weight == 0 and problem.strategy is not Strategy.UNLIMITED:
        return "weight 0: no more"
    if guaranteeing and given == guaranteed:
        return "its guarantee" if guaranteed == claim.guaranteed else "its guarantee, scaled"
    weightless = problem.strategy in (Strategy.EQUAL, Strategy.UNLIMITED)
    if problem.strategy is Strategy.PRIORITY:
        return f"share in tier {claim.priority}" if given else f"tier {claim.priority}: none left"
    within = f" in {claim.group}" if claim.group else ""
    kind = "equal share" if weightless else f"share by weight {claim.weight:g}"
    return kind + within


def _show_several(
    problem: PoolProblem, capacities: dict[str, int], division: DominantDivision
) -> None:
    table = _table("Resource", "Demand", "Gets", "Share")
    for claim in sorted(problem.tenants, key=lambda claim: claim.tenant):
        given = division.allocations[claim.tenant]
        wanted = [name for name in given if _several(claim)[name]]
        used_up = [name for name in wanted if not division.unallocated[name]]
        for number, (resource, units) in enumerate(given.items()):
            demand = _several(claim)[resource]
            capacity = capacities[resource]
            why = "all it wants"
            if any(given[name] < _several(claim)[name] for name in wanted):
                why = "weight 0" if not claim.weight else f"{', '.join(used_up)} used up"
            table.add_row(
                claim.tenant if number == 0 else "",
                resource,
                f"{demand:,}",
                f"{units:,}",
                f"{units / capacity:.0%}" if capacity else "-",
                why if number == 0 else "",
            )
    console = Console(highlight=False)
    console.print(table)
    left = ", ".join(
        f"{units:,} of {capacities[name]:,} {name}" for name, units in division.unallocated.items()
    )
    console.print(f"\nLeft: {left} ({problem.strategy.value}, by dominant share).", soft_wrap=True)
    _show_conditions(console, division.conditions)


def _show_conditions(console: Console, conditions: Sequence[Condition]) -> None:
    for condition in conditions:
        console.print(f"{condition.type}: {condition.message}.", soft_wrap=True, markup=False)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Tenant", overflow="fold")
    for title in titles:
        table.add_column(title, justify="left" if title == "Resource" else "right")
    table.add_column("Why", overflow="fold")
    return table
