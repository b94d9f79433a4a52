"""What ``headgate why`` makes of what everybody said."""

import pytest

from headgate.model.breaker import BreakerState, BreakerView, Override, Throttle
from headgate.model.ledger import (
    LedgerCommand,
    Outlook,
    PermitView,
    SetThrottle,
    WaiterView,
    WhyView,
)
from headgate.model.policy import BreakerPolicy
from headgate.model.pool import GroupShare, MemberView, PoolSettings, PoolView, Strategy
from headgate.model.reason import Reason, ReasonCode
from headgate.model.settings import BreakerSettings
from headgate.model.why import JobAsk, Obstacle
from headgate.orchestrator.obstacles import in_the_breaker, ranked, told_of
from headgate.orchestrator.times import lasting
from headgate.orchestrator.verdict import Evidence, conclude
from headgate.quota import Ledger
from tests.unit.ledgers import ask as ask_ledger
from tests.unit.ledgers import quotas

NOW = 1_700_000_000_000


def view(code: ReasonCode = ReasonCode.QUOTA_USED_UP, **changes: object) -> WhyView:
    fields: dict[str, object] = {
        "id": "p1",
        "tenant": "acme",
        "resource": "scan",
        "units": 1,
        "workflow_id": "job",
        "state": "waiting",
        "since_ms": NOW - 5_000,
        "expires_at_ms": NOW + 60_000,
        "position": 3,
        "reason": Reason(
            code=code,
            message="12 of 12 scan of tenant acme in use, number 3 in line behind a, b; "
            "about 40 s to go (estimate)",
            limit=12,
            used=12,
            needed=1,
            position=3,
        ),
        "retry_at_ms": NOW + 40_000,
        "holders": [
            PermitView(
                id="h",
                resource="scan",
                units=1,
                workflow_id="other",
                run_id="",
                granted_at_ms=NOW - 9_000,
                expires_at_ms=NOW,
            )
        ],
        "ahead": [
            WaiterView(
                id="a",
                resource="scan",
                units=1,
                workflow_id="a",
                priority=0,
                since_ms=NOW - 6_000,
                position=1,
            )
        ],
    }
    return WhyView.model_validate({**fields, **changes})


def ask(**changes: object) -> JobAsk:
    fields: dict[str, object] = {
        "id": "p1",
        "tenant": "acme",
        "resource": "scan",
        "since_ms": NOW - 5_000,
        "state": "in_line",
    }
    return JobAsk.model_validate({**fields, **changes})


def breaker(state: BreakerState = BreakerState.CLOSED, **changes: object) -> BreakerView:
    fields: dict[str, object] = dict.fromkeys(
        (
            *("calls_in_window", "failures_in_window", "slow_in_window", "consecutive_failures"),
            *("successes", "failures", "ignored", "rejected", "slow", "excused", "malformed"),
            *("reopenings", "witnesses", "probes_in_flight", "gates", "revision", "incarnation"),
        ),
        0,
    )
    fields |= {
        "downstream": "scanner",
        "settings": BreakerSettings(policy=BreakerPolicy(probes=2)),
        "state": state,
        "own_state": state,
        "override": None,
        "epoch": 1,
        "since_ms": NOW - 10_000,
        "until_ms": NOW + 10_000,
        "reason": "15 of 20 calls failed",
        "open_dependencies": [],
        "transitions": [],
    }
    return BreakerView.model_validate({**fields, **changes})


def pool_with(name: str, capacity: dict[str, int], members: dict[str, MemberView]) -> PoolView:
    return PoolView(
        pool=name,
        settings=PoolSettings(),
        capacity=capacity,
        members=members,
        revision=1,
        incarnation=1,
    )


def pool_of(resource: str) -> PoolView:
    acme = MemberView(held={resource: 12}, allocated={resource: 12})
    return pool_with(f"pool-of-{resource}", {resource: 500}, {"acme": acme})


def evidence(**said: object) -> Evidence:
    found = Evidence("job", NOW, status="RUNNING", is_open=True)
    for name, value in said.items():
        setattr(found, name, value)
    return found


def test_the_most_structural_comes_first_whatever_the_order() -> None:
    obstacles = [Obstacle(code=code, message="") for code in reversed(ReasonCode)]
    assert [one.code for one in ranked(obstacles)] == list(ReasonCode)


def test_a_used_up_quota_is_told_with_place_and_estimate() -> None:
    report = conclude(evidence(asks=[ask()], views=[view()]))
    assert report.verdict == (
        "waits: the quota of acme is used up: it holds 12 of 12 scan, number 3 in line; "
        "next permit likely in about 40 s (estimate)"
    )
    (obstacle,) = report.obstacles
    assert (obstacle.position, obstacle.limit, obstacle.used, obstacle.needed) == (3, 12, 12, 1)
    assert [one.workflow_id for one in obstacle.holders] == ["other"]
    assert [one.workflow_id for one in obstacle.ahead] == ["a"]
    # The estimate ages, so it stands beside the sentence and not in it.
    assert obstacle.message.endswith("behind a, b")
    assert (report.goes_on_at_ms, report.estimate) == (NOW + 40_000, True)


def test_an_estimate_that_has_passed_is_no_promise() -> None:
    report = conclude(evidence(asks=[ask()], views=[view(retry_at_ms=NOW - 3_000)]))
    assert report.verdict.endswith("next permit expected 3 s ago (estimate), and takes longer")


def test_a_used_up_pool_is_told_with_who_has_what_of_it() -> None:
    members = {
        "acme": MemberView(held={"scan": 12}, wanted={"scan": 20}, allocated={"scan": 12}),
        "globex": MemberView(held={"scan": 28}, wanted={"scan": 28}, allocated={"scan": 28}),
        "idle": MemberView(allocated={"scan": 0}),
    }
    pool = pool_with("scanner-slots", {"scan": 40}, members)
    said = evidence(views=[view(ReasonCode.POOL_USED_UP)], pools={("acme", "scan"): pool})
    report = conclude(said)
    assert report.verdict == (
        "waits: the part of acme in pool scanner-slots is used up: it holds 12 of its 12, number 3 "
        "in line; next permit likely in about 40 s (estimate)"
    )
    parts = report.obstacles[0].parts
    assert [(part.tenant, part.held, part.wanted) for part in parts] == [
        ("globex", 28, 28),
        ("acme", 12, 20),
    ]


def member(units: int, wanted: int | None = None) -> MemberView:
    has = {"scan": units}
    wants = has if wanted is None else {"scan": wanted}
    return MemberView(held=has, wanted=wants, allocated=has, ceiling=has)


def test_a_used_up_pool_is_told_as_it_is_now_with_the_group_that_may_have_no_more() -> None:
    settings = PoolSettings(
        strategy=Strategy.RESERVED,
        tenants={"acme": "dep2", "globex": "inner", "initech": "dep1", "hooli": None},
        groups={
            "dep2": GroupShare(maximum=10),
            "inner": GroupShare(parent="dep2", maximum=9),
            "dep1": GroupShare(maximum=10),
        },
    )
    members = {"acme": member(6, 8), "globex": member(4, 5), "initech": member(4, 9)}
    pool = pool_with("slots", {"scan": 20}, {**members, "hooli": member(0)})
    said = Reason(code=ReasonCode.POOL_USED_UP, message="6 of 6 in use", limit=6, used=6, needed=1)
    waits = view(ReasonCode.POOL_USED_UP, reason=said, position=1)

    def told(pool: PoolView) -> str:
        pool = pool.model_copy(update={"settings": settings})
        pools = {("acme", "scan"): pool}
        return conclude(evidence(views=[waits], pools=pools)).obstacles[0].message

    assert told(pool) == (
        "6 of 6 in use; 14 of the pool's 20 scan are given out (reserved, 4 tenants, 3 of them "
        "want more than they have); group dep2 may have 10 together and has 10"
    )
    fewer = pool.model_copy(update={"members": {**members, "globex": member(2)}})
    assert "group" not in told(fewer)
    begins = pool.model_copy(update={"unheard": ["hooli"]})
    assert "(waiting for 1 ledger to say what it holds)" in told(begins)


def test_who_lacks_its_guarantee_is_told_who_has_borrowed_it() -> None:
    members = {
        "acme": MemberView(wanted={"scan": 1}, guaranteed={"scan": 2}),
        "globex": MemberView(held={"scan": 4}, wanted={"scan": 9}, guaranteed={"scan": 1}),
        "tiny": MemberView(held={"scan": 1}, wanted={"scan": 1}, guaranteed={"scan": 1}),
    }
    pool = pool_with("slots", {"scan": 5}, members)
    waits = view(ReasonCode.POOL_USED_UP)
    (obstacle,) = conclude(evidence(views=[waits], pools={("acme", "scan"): pool})).obstacles
    assert obstacle.message.endswith(
        "; 2 are guaranteed to acme, which gets them as they come back from those who hold more "
        "than is guaranteed to them: globex (3)"
    )
    assert {one.tenant: one.guaranteed for one in obstacle.parts} == {
        "acme": 2,
        "globex": 1,
        "tiny": 1,
    }


def test_who_holds_more_than_its_part_now_is_told_how_much() -> None:
    reason = Reason(
        code=ReasonCode.POOL_USED_UP, message="x", resource="scan", limit=2, used=4, endless=True
    )
    pools = {("acme", "scan"): pool_of("scan")}
    waits = view(ReasonCode.POOL_USED_UP, reason=reason, retry_at_ms=None, position=1)
    assert conclude(evidence(views=[waits], pools=pools)).verdict == (
        "waits: the part of acme in pool pool-of-scan is used up: it holds 4, 2 more than its part "
        "now; nobody knows until when"
    )


def test_of_several_resources_that_which_is_lacking_is_named_with_its_pool() -> None:
    both = {"scan": {"max_active": 500}, "tok": {"max_active": 500}}
    ledger = Ledger.begin("acme", quotas(**both), 1)
    ask_ledger(ledger, "a", resource="tok", units=400)
    ask_ledger(ledger, "b", also={"tok": 100})
    ask_ledger(ledger, "job", also={"tok": 100}, wait_ms=60_000)
    ask_ledger(ledger, "next", wait_ms=60_000, also={"tok": 1})
    ask_ledger(ledger, "last", wait_ms=60_000)
    (said,) = ledger.why_workflow("job-job", NOW)
    (obstacle,) = conclude(evidence(views=[said])).obstacles
    assert (obstacle.resource, obstacle.limit, obstacle.used) == ("tok", 500, 500)
    assert obstacle.needed == 100
    assert [who.units_of(obstacle.resource) for who in obstacle.holders] == [400, 100]
    assert conclude(evidence(views=[said])).verdict.startswith(
        "waits: the quota of acme is used up: it holds 500 of 500 tok; "
    )
    # Who would fit but for those ahead is told their numbers where it needs the same, too.
    queued = [ledger.why_workflow(f"job-{id}", NOW)[0].reason for id in ("next", "last")]
    assert [(one.resource, one.limit, one.needed) for one in queued if one is not None] == [
        ("tok", 500, 1),
        ("scan", None, 1),
    ]


def test_of_several_pools_that_of_what_is_lacking_is_shown() -> None:
    said = view(
        ReasonCode.POOL_USED_UP,
        also={"tok": 100},
        reason=Reason(
            code=ReasonCode.POOL_USED_UP, message="x", resource="tok", limit=500, used=500
        ),
    )
    assert told_of(said) == "tok"
    pools = {("acme", name): pool_of(name) for name in ("scan", "tok")}
    (obstacle,) = conclude(evidence(views=[said], pools=pools)).obstacles
    assert (obstacle.resource, obstacle.pool) == ("tok", "pool-of-tok")
    assert [(part.tenant, part.held) for part in obstacle.parts] == [("acme", 12)]


def test_a_call_that_was_held_back_is_told_in_its_own_words() -> None:
    call = Obstacle(
        code=ReasonCode.QUOTA_USED_UP, message="its call to scan was held back", used=4, limit=4
    )
    verdict = conclude(evidence(calls=[call])).verdict
    assert verdict.startswith("waits: its call to scan was held back; ")


def test_an_exact_time_is_told_as_one() -> None:
    reason = Reason(code=ReasonCode.RATE, message="the rate of 5/s for scan is used up")
    report = conclude(evidence(views=[view(reason=reason, position=1)]))
    assert report.verdict == (
        "waits: the rate of 5/s for scan is used up; not before 2023-11-14 22:14:00Z, in 40 s"
    )
    assert not report.estimate


def test_what_people_have_set_has_no_estimate() -> None:
    reason = Reason(
        code=ReasonCode.SUSPENDED,
        message="scan was paused by ada: a drill, number 3 in line behind a",
        endless=True,
    )
    report = conclude(evidence(views=[view(reason=reason)]))
    assert report.verdict == "waits: scan was paused by ada: a drill; until people end it"
    assert report.goes_on_at_ms is None
    assert (report.obstacles[0].holders, report.obstacles[0].ahead) == ([], [])


def test_the_end_of_a_pause_is_told_whoever_is_ahead() -> None:
    ledger = Ledger.begin("acme", quotas(scan={"max_active": 5}), 1)
    pause = SetThrottle(resource="scan", share=0, until_ms=NOW + 3_600_000)
    command = LedgerCommand(id="p", actor="ada", reason="a drill", action=pause)
    ledger.operate(command, NOW)
    for id in ("a", "b"):
        ask_ledger(ledger, id, wait_ms=7_200_000)
        report = conclude(evidence(views=ledger.why_workflow(f"job-{id}", NOW)))
        assert report.verdict == (
            "waits: scan was paused by ada: a drill; not before 2023-11-14 23:13:20Z, in 60 min"
        )


def test_a_job_in_a_line_without_an_end_is_told_no_time_without_its_ledger_either() -> None:
    reason = Reason(code=ReasonCode.SUSPENDED, message="scan was paused", endless=True)
    waits = ask(reason=reason, retry_at_ms=NOW + 60_000)
    assert conclude(evidence(asks=[waits])).goes_on_at_ms is None
    again = ask(reason=reason, retry_at_ms=NOW + 60_000, state="asks_again")
    assert conclude(evidence(asks=[again])).goes_on_at_ms == NOW + 60_000


def test_who_gets_no_answer_is_told_that_it_asks_on() -> None:
    message = "headgate/ledger/acme did not answer within 5 s; is a governance worker running?"
    reason = Reason(code=ReasonCode.UNAVAILABLE, message=message)
    asks = [ask(state="asks_again", reason=reason, retry_at_ms=NOW - 3_000)]
    assert conclude(evidence(asks=asks)).verdict == (
        f"waits: {message} it asks again until it gets an answer"
    )


def test_a_shut_breaker_comes_before_the_line_and_both_are_told() -> None:
    asks = [ask(downstream="scanner")]
    said = evidence(asks=asks, views=[view()], breakers={"scanner": breaker(BreakerState.OPEN)})
    report = conclude(said)
    assert [one.code for one in report.obstacles] == [
        ReasonCode.BREAKER_OPEN,
        ReasonCode.QUOTA_USED_UP,
    ]
    assert report.verdict.startswith(
        "waits: the breaker of scanner is open: 15 of 20 calls failed; and 1 more in its way; "
    )
    assert (report.goes_on_at_ms, report.estimate) == (NOW + 40_000, True)


REFUSED = Reason(code=ReasonCode.BREAKER_OPEN, message="breaker of scanner is OPEN: x")


def test_a_job_that_sleeps_goes_on_no_sooner_than_it_asks_again() -> None:
    asleep = ask(downstream="scanner", state="asks_again", reason=REFUSED, retry_at_ms=NOW + 25_000)
    shut = conclude(evidence(asks=[asleep], breakers={"scanner": breaker(BreakerState.OPEN)}))
    assert [one.code for one in shut.obstacles] == [ReasonCode.BREAKER_OPEN]
    assert (shut.goes_on_at_ms, shut.estimate) == (NOW + 25_000, False)
    over = conclude(evidence(asks=[asleep], breakers={"scanner": breaker()}))
    assert "that is over now, and it goes on when it next asks" in over.verdict
    assert over.goes_on_at_ms == NOW + 25_000


@pytest.mark.parametrize(
    ("found", "code", "said", "until"),
    [
        (
            breaker(
                BreakerState.FORCED_OPEN,
                override=Override(
                    mode=BreakerState.FORCED_OPEN, actor="ada", reason="a drill", since_ms=NOW
                ),
            ),
            ReasonCode.FORCED_OPEN,
            "the breaker of scanner is forced open by ada: a drill",
            None,
        ),
        (
            breaker(BreakerState.HALF_OPEN, probes_in_flight=2),
            ReasonCode.PROBES_BUSY,
            "the breaker of scanner is half open and its 2 probes are in flight",
            NOW + 10_000,
        ),
        (
            breaker(BreakerState.RAMP),
            ReasonCode.RAMP,
            "scanner is coming back: 55% of its calls pass now",
            NOW + 10_000,
        ),
        (
            breaker(throttle=Throttle(share=0.5, actor="ada", reason="a drill", since_ms=NOW)),
            ReasonCode.RAMP,
            "50% of the calls to scanner pass, cut by ada: a drill",
            None,
        ),
    ],
)
def test_a_breaker_says_what_it_keeps_away(
    found: BreakerView, code: ReasonCode, said: str, until: int | None
) -> None:
    obstacle = in_the_breaker(found, NOW)
    assert obstacle is not None
    assert (obstacle.code, obstacle.message, obstacle.changes_at_ms) == (code, said, until)


@pytest.mark.parametrize(
    "found",
    [breaker(), breaker(BreakerState.SHADOW), breaker(BreakerState.HALF_OPEN, probes_in_flight=1)],
)
def test_a_breaker_that_lets_pass_is_in_nobodys_way(found: BreakerView) -> None:
    assert in_the_breaker(found, NOW) is None


def test_a_job_that_holds_all_it_needs_runs() -> None:
    held = view(state="held", reason=None, position=None, holders=[], ahead=[])
    said = evidence(
        asks=[ask(state="held", downstream="scanner")],
        views=[held],
        breakers={"scanner": breaker(BreakerState.OPEN)},
    )
    report = conclude(said)
    assert report.state == "runs"
    assert report.verdict == "runs: it holds 1 scan of acme since 5 s, and waits for nothing"
    assert report.holds[0].downstream == "scanner"
    assert report.notes == [
        "its calls may be refused: the breaker of scanner is open: 15 of 20 calls failed"
    ]


def test_what_its_ledger_has_no_more_is_not_held_whatever_the_job_says() -> None:
    asks = [ask(state="held")]
    believed = conclude(evidence(asks=asks))
    assert [one.id for one in believed.holds] == ["p1"]
    report = conclude(evidence(asks=asks, lost={"p1"}))
    assert (report.verdict, report.holds) == (
        "runs: it asks for no permit now, and holds none",
        [],
    )
    assert report.notes == [
        "it goes on as if it held 1 scan of acme (permit p1), but its ledger has that no more: it "
        "was released, or has expired"
    ]


def test_a_job_that_has_ended_waits_for_nothing() -> None:
    ended = evidence(status="FAILED", is_open=False, closed_at_ms=NOW)
    assert conclude(ended).verdict == (
        "closed: it ended at 2023-11-14 22:13:20Z (failed) and waits for nothing"
    )
    ended.views = [view(state="held", reason=None, position=None)]
    report = conclude(ended)
    assert report.verdict.endswith("(failed), but still holds 1 of its permits")
    assert "takes it back by itself" in report.notes[0]


def test_a_job_that_is_silent_is_told_of() -> None:
    report = conclude(evidence(silence="the job does not answer"))
    assert report.verdict == "runs: no ledger knows that it waits or holds anything"
    assert report.notes[0] == "the job does not answer"
    assert "its ledger is told of within 20 s" in report.notes[1]


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (-5, "less than 1 s"),
        (40_400, "40 s"),
        (119_000, "119 s"),
        (125_000, "2 min"),
        (7_200_000, "2 h"),
        (172_800_000, "2 d"),
    ],
)
def test_durations_are_told_in_short(ms: int, said: str) -> None:
    assert lasting(ms) == said


def test_what_a_job_was_told_before_its_breaker_is_told_as_its_ledger_has_it_now() -> None:
    paused = Reason(code=ReasonCode.SUSPENDED, message="tenant acme is suspended", endless=True)
    asks = [ask(downstream="scanner", state="asks_again", reason=paused, retry_at_ms=NOW + 60_000)]
    shut = {"scanner": breaker(BreakerState.OPEN)}
    still = {"p1": Outlook(reason=paused, retry_at_ms=NOW + 60_000)}
    report = conclude(evidence(asks=asks, breakers=shut, outlooks=still))
    codes = [one.code for one in report.obstacles]
    assert codes == [ReasonCode.SUSPENDED, ReasonCode.BREAKER_OPEN]
    assert report.verdict == (
        "waits: tenant acme is suspended; and 1 more in its way; until people end it"
    )
    resumed = {"p1": Outlook()}
    report = conclude(evidence(asks=asks, breakers=shut, outlooks=resumed))
    assert [one.code for one in report.obstacles] == [ReasonCode.BREAKER_OPEN]
    report = conclude(evidence(asks=asks, outlooks=resumed))
    assert report.verdict == (
        "waits: tenant acme is suspended; that is over now, and it goes on when it next asks; "
        "not before 2023-11-14 22:14:20Z, in 60 s"
    )
