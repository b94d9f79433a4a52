"""A pool gives nothing to those whom other limits of their tenant do not let begin soon."""

from headgate.model.ledger import Acquire, Exchange, Holder
from headgate.model.pool import Strategy
from headgate.model.quota import Quota, Rate
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger
from headgate.quota.demand import SOON_MS
from headgate.quota.ways import Ways
from tests.unit.pools import NOW_MS, PoolOfLedgers

HOUR_MS = 3_600_000
TWICE_AN_HOUR = Rate(limit=2, period_ms=HOUR_MS)


def shared(**quota: object) -> PoolOfLedgers:
    """10 units; ``y`` has 10 jobs, and ``x`` as many that other limits hold up."""
    quotas = {"x": Quota.model_validate(quota), "y": Quota()}
    pool = PoolOfLedgers(10, quotas, strategy=Strategy.EQUAL)
    pool.ask("x", 10)
    pool.ask("y", 10)
    pool.wait(10_000)
    return pool


def test_what_a_rate_does_not_let_pass_is_others() -> None:
    pool = shared(rate=TWICE_AN_HOUR, burst=1)
    assert (pool.held("x"), pool.held("y")) == (1, 9)


def test_when_time_lets_more_pass_the_pool_hears_of_it_in_time() -> None:
    pool = shared(rate=TWICE_AN_HOUR, burst=1)
    pool.give_back("x")
    pool.ask("y", 1)
    pool.wait(10_000)
    assert (pool.held("x"), pool.held("y")) == (0, 10)
    # Nothing else would make the ledger look.
    passes_ms = NOW_MS + HOUR_MS // 2
    deadline = pool.ledgers["x"].next_deadline()
    assert deadline is not None and abs(deadline - (passes_ms - SOON_MS)) < 1_000
    pool.give_back("y", 6)
    pool.now_ms = deadline
    pool.wait(SOON_MS + 500)
    assert pool.held("x") == 1


def test_a_window_that_is_used_up_wakes_the_ledger_too() -> None:
    pool = shared(per_hour=2)
    assert (pool.held("x"), pool.held("y")) == (2, 8)
    ends_ms = NOW_MS - NOW_MS % HOUR_MS + HOUR_MS
    assert pool.ledgers["x"].next_deadline() == ends_ms - SOON_MS


def test_a_job_that_needs_more_than_a_window_has_left_wants_nothing() -> None:
    quotas = {"x": Quota(per_hour=5), "y": Quota()}
    pool = PoolOfLedgers(10, quotas, strategy=Strategy.EQUAL)
    pool.ask("x", 1, units=3)
    pool.ask("x", 1, units=3)
    pool.ask("y", 10)
    pool.wait(10_000)
    assert (pool.held("x"), pool.held("y")) == (3, 7)


def test_what_another_resource_does_not_let_begin_is_others() -> None:
    both = {"scan": Quota(), "gpu": Quota(max_active=1)}
    pool = PoolOfLedgers(10, {"x": Quota(), "y": Quota()}, strategy=Strategy.EQUAL)
    settings = LedgerSettings(quotas=both, pools={"scan": "p"}, source="listed")
    pool.ledgers["x"].configure(settings, pool.now_ms)
    acquires = [
        Acquire(
            id=f"x-{number}",
            holder=Holder(workflow_id="w"),
            resource="scan",
            also={"gpu": 1},
            wait_until_ms=pool.now_ms + HOUR_MS,
        )
        for number in range(10)
    ]
    pool.ledgers["x"].exchange(Exchange(gate="g", acquires=acquires), pool.now_ms)
    pool.ask("y", 10)
    pool.wait(10_000)
    assert (pool.held("x"), pool.held("y")) == (1, 9)
    pool.give_back("y", 5)
    pool.give_back("x")
    pool.wait(10_000)
    assert pool.held("x") == 1, "the next one begins"


def test_a_fast_rate_takes_nothing_from_a_tenant_at_work() -> None:
    """Within some seconds it lets all pass that wait, though not in this very moment."""
    pool = shared(rate=Rate(limit=1, period_ms=1_000), burst=1)
    assert (pool.held("x"), pool.held("y")) == (5, 5)


def test_runs_that_began_before_want_what_they_wanted() -> None:
    settings = LedgerSettings(
        quotas={"scan": Quota(rate=TWICE_AN_HOUR, burst=1)}, pools={"scan": "p"}, source="listed"
    )
    for asks, wanted in ((True, 1), (False, 5)):
        ledger = Ledger.begin("x", settings, 1, ways=Ways(asks_for_usable=asks))
        acquires = [
            Acquire(
                id=f"{number}",
                holder=Holder(workflow_id="w"),
                resource="scan",
                wait_until_ms=NOW_MS + HOUR_MS,
            )
            for number in range(5)
        ]
        ledger.exchange(Exchange(gate="g", acquires=acquires), NOW_MS)
        assert [one.claims["scan"].wanted for one in ledger.demands()] == [wanted]
