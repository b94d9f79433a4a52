"""``headgate pool what-if``: who would gain and lose in one pool that is divided otherwise."""

import asyncio

import typer

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.plan import print_pool
from headgate.cli.tables import print_json
from headgate.model.errors import ConfigurationError
from headgate.model.plan import PoolForecast, WhatIf
from headgate.orchestrator.whatif import what_would_be

_EXAMPLE = '--quota "acme scan weight=2 max_active=none"'


def command(
    pool: str = typer.Argument(help="The pool."),
    capacity: list[str] = typer.Argument(None, help="Units by resource, such as scan=40."),
    strategy: str | None = typer.Option(None, help="How it is divided."),
    quota: list[str] = typer.Option(
        [],
        metavar="CHANGES",
        help='What differs in a quota, such as "acme scan weight=2"; none takes a limit away; may '
        "be given more than once.",
    ),
    as_json: bool = options.JSON,
) -> None:
    """Show who would gain and who would lose by another capacity, strategy, or other quotas.

    On the demand that was last saved. Nothing is changed; what is not named stays as it is.
    """
    quotas: dict[str, dict[str, dict[str, str | None]]] = {}
    for text in quota:
        tenant, resource, changes = _changes(text)
        quotas.setdefault(tenant, {})[resource] = changes
    wish = options.written(
        WhatIf,
        capacity=options.pairs(capacity or [], "scan=40"),
        strategy=strategy,
        quotas=quotas,
    )
    found = asyncio.run(_forecast(pool, wish))
    if as_json:
        print_json(found)
    else:
        print_pool(found)


def _changes(text: str) -> tuple[str, str, dict[str, str | None]]:
    """Return tenant, resource and fields."""
    words = text.split()
    if len(words) < 3:
        raise ConfigurationError(
            f"--quota {text!r}: write a tenant, a resource and what differs, such as {_EXAMPLE}"
        )
    tenant, resource, *fields = words
    return tenant, resource, options.pairs(fields, "weight=2")


async def _forecast(pool: str, wish: WhatIf) -> PoolForecast:
    async with reading() as db:
        return await what_would_be(db, pool, wish)
