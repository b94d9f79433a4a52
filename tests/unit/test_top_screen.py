"""What ``headgate top`` draws fits the terminal, and says what does not."""

import io

import pytest
from rich.console import Console

from headgate.cli.top_screen import Seen, render
from headgate.model.quota import Quota
from headgate.store.overview import TenantPage
from headgate.view.standing import (
    BreakerStanding,
    TenantStanding,
    breaker_standing,
    pool_standing,
    tenant_standing,
)
from headgate.view.status import Totals, status
from tests.unit import ledgers
from tests.unit.ledgers import ask
from tests.unit.pools import PoolOfLedgers
from tests.unit.test_breaker import NOW_MS, Gate, make


def _breaker(number: int) -> BreakerStanding:
    breaker = make(min_calls=1, open_ms=60_000)
    if number % 10 == 0:
        Gate(breaker).report("x")
    view = breaker.view(NOW_MS).model_copy(update={"downstream": f"downstream-{number:02}"})
    return breaker_standing(view, NOW_MS, NOW_MS)


def _tenant(number: int) -> TenantStanding:
    ledger = ledgers.make(max_active=2)
    for job in range(number % 5):
        ask(ledger, f"{job}", wait_ms=60_000)
    view = ledger.view().model_copy(update={"tenant": f"a-tenant-with-a-long-name-{number:02}"})
    return tenant_standing(view, NOW_MS, NOW_MS)


def _screen(breakers: int, tenants: int, width: int, height: int, trouble: str | None) -> str:
    pool = PoolOfLedgers(10, {"acme": Quota(guaranteed=4)})
    found = [_breaker(number) for number in range(breakers)]
    page = TenantPage(tenants=[_tenant(number) for number in range(tenants)], matching=10_000)
    pools = [pool_standing(pool.governor.view(), NOW_MS)]
    totals = Totals(breakers=breakers, tenants=10_000, pools=1, waiting=3, waiting_tenants=2)
    seen = Seen(
        status(found, [], pools, totals, NOW_MS, NOW_MS, NOW_MS, NOW_MS),
        found,
        page,
        pools,
        "waiting",
        trouble=trouble,
    )
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(render(seen, height, NOW_MS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("breakers", [0, 3, 60])
@pytest.mark.parametrize("tenants", [0, 2, 60])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 12), (132, 50)])
def test_it_fits(breakers: int, tenants: int, width: int, height: int) -> None:
    lines = _screen(breakers, tenants, width, height, None).splitlines()
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    assert "q quit" in lines[-1]


def test_what_is_in_trouble_comes_first_and_the_rest_is_counted() -> None:
    lines = _screen(60, 60, 80, 24, None).splitlines()
    assert lines[0].startswith("✕ BLOCKED  blocked by breaker/downstream-00")
    assert "+" in lines[2]
    assert "✕ OPEN 60 s" in lines[3]


def test_while_postgres_is_away_it_says_so() -> None:
    lines = _screen(3, 3, 80, 24, "cannot use Postgres at db:5432").splitlines()
    assert lines[0] == "? STALE  cannot use Postgres at db:5432"
    assert "READ" in lines[1]
