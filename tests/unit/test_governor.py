"""A governor, step by step: what it gives, what it takes back, and when."""

from typing import Any

import pytest

from headgate.allocation.governor import Governor
from headgate.allocation.operator import obey
from headgate.model.configuration import Configuration
from headgate.model.pool import (
    Claim,
    Damping,
    Demand,
    GroupShare,
    PoolCommand,
    PoolSettings,
    Share,
    Strategy,
)

NOW_MS = 1_700_000_000_000
ROUND_MS = 100
CALM = Damping(
    round_ms=ROUND_MS, min_hold_ms=2_000, demand_half_life_ms=1_000, headroom=0, share_per_round=0.5
)
RESERVED = {"lender": Share(guaranteed=6), "borrower": Share(guaranteed=2)}


class Site:
    """A governor, and ledgers that hold what they want as far as they may."""

    def __init__(self, shares: dict[str, Share], **settings: Any) -> None:
        self.shares = dict(shares)
        self.now_ms = NOW_MS
        self.held = dict.fromkeys(shares, 0)
        self.wanted = dict.fromkeys(shares, 0)
        self.next: dict[str, int] = {}
        self.told: dict[str, int] = dict.fromkeys(shares, 0)
        self.sequence = dict.fromkeys(shares, 0)
        self.messages = 0
        self.settings = PoolSettings(
            capacity={"r": 8},
            strategy=Strategy.RESERVED,
            tenants=dict.fromkeys(shares),
            damping=CALM,
            source="listed",
        ).model_copy(update=settings)
        self.governor = Governor.begin("p", self.settings, 1)

    def say(self, tenant: str) -> None:
        claim = Claim(
            held=self.held[tenant],
            wanted=self.wanted[tenant],
            next=self.next.get(tenant, 0),
            share=self.shares[tenant],
        )
        self.messages += 1
        self.governor.demand(
            Demand(
                pool="p",
                tenant=tenant,
                incarnation=1,
                revision=self.messages,
                sequence=self.sequence[tenant],
                claims={"r": claim},
            ),
            self.now_ms,
        )

    def want(self, **units: int) -> None:
        for tenant, wanted in units.items():
            self.wanted[tenant] = wanted
            self.say(tenant)

    def deliver(self, *, lasting: tuple[str, ...] = ()) -> list[str]:
        """Bring allocations to the ledgers; ``lasting``: whose jobs do not end."""
        told = self.governor.to_tell()
        for tenant in told:
            message = self.governor.allocation_of(tenant)
            self.governor.told(tenant, message.sequence, True)
            self.sequence[tenant], self.told[tenant] = message.sequence, message.units["r"]
        for tenant in self.shares:
            may = min(self.wanted[tenant], self.told[tenant])
            self.held[tenant] = max(may, self.held[tenant]) if tenant in lasting else may
            self.say(tenant)
        return told

    def rounds(self, count: int = 1, *, lasting: tuple[str, ...] = ()) -> None:
        for _ in range(count):
            self.deliver(lasting=lasting)
            self.now_ms += ROUND_MS
            self.governor.advance(self.now_ms)
        self.deliver(lasting=lasting)


def test_nothing_is_given_before_every_ledger_has_said_what_it_holds() -> None:
    site = Site(RESERVED)
    site.held["lender"] = 5
    site.want(borrower=8)
    site.now_ms += ROUND_MS
    site.governor.advance(site.now_ms)
    assert site.governor.view().unheard == ["borrower", "lender"]
    assert site.governor.allocation_of("borrower").units == {"r": 0}
    site.wanted["lender"] = 5
    site.rounds(2, lasting=("lender",))
    assert site.governor.view().unheard == []
    assert site.told == {"lender": 5, "borrower": 3}


def test_a_ledger_that_does_not_run_is_not_waited_for() -> None:
    site = Site(RESERVED)
    site.governor.told("lender", site.governor.record.members["lender"].sequence, False)
    message = site.governor.allocation_of("borrower")
    site.governor.told("borrower", message.sequence, True)
    site.sequence["borrower"] = message.sequence
    site.want(borrower=8)
    site.now_ms += ROUND_MS
    site.governor.advance(site.now_ms)
    assert site.governor.allocation_of("borrower").units == {"r": 8}


def test_what_a_terminated_ledger_last_held_counts_until_it_runs_again() -> None:
    site = Site(RESERVED)
    site.want(lender=5, borrower=1)
    site.rounds(2)
    site.want(borrower=8)
    site.governor.told("lender", site.governor.record.members["lender"].sequence, False)
    site.now_ms += ROUND_MS
    site.governor.advance(site.now_ms)
    lender = site.governor.view().members["lender"]
    assert (lender.held, lender.wanted, lender.stopped) == ({"r": 5}, {"r": 0}, True)
    assert site.governor.allocation_of("borrower").units == {"r": 3}
    site.held["lender"] = site.wanted["lender"] = 0
    site.rounds(2)
    assert not site.governor.view().members["lender"].stopped
    assert site.told["borrower"] == 8


def test_what_is_idle_is_borrowed_and_the_guarantee_comes_back_without_damping() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    site.rounds(2)
    assert site.held == {"lender": 0, "borrower": 8}
    site.want(lender=6)
    site.rounds(2)
    assert site.told == {"lender": 6, "borrower": 2}


KEEPER = {"keeper": Share(guaranteed=5, lend_limit=0), "other": Share(guaranteed=1)}


@pytest.mark.parametrize("wanted", [8, 3])
def test_what_is_not_lent_nobody_else_gets_even_as_comfort(wanted: int) -> None:
    damping = CALM.model_copy(update={"headroom": 1})
    site = Site(KEEPER, damping=damping)
    site.want(keeper=0, other=wanted)
    site.rounds(5)
    assert site.told == {"keeper": 5, "other": 3}
    site.want(keeper=5)
    site.rounds(1)
    assert site.held["keeper"] == 5


def test_what_was_given_before_it_was_not_to_be_lent_comes_back() -> None:
    site = Site({"keeper": Share(guaranteed=5), "other": Share(guaranteed=1)})
    site.want(keeper=0, other=8)
    site.rounds(5)
    assert site.held["other"] == 8
    site.shares = KEEPER
    site.want(keeper=0)
    site.rounds(30)
    assert site.told == {"keeper": 5, "other": 3}


def test_what_one_keeps_whose_ledger_does_not_run_is_given_to_nobody() -> None:
    site = Site(KEEPER)
    site.want(keeper=0, other=8)
    site.rounds(3)
    assert site.told == {"keeper": 5, "other": 3}
    site.governor.told("keeper", site.governor.record.members["keeper"].sequence, False)
    site.shares = {"other": KEEPER["other"]}  # the keeper says nothing any more
    for _ in range(5):
        site.now_ms += ROUND_MS
        site.governor.advance(site.now_ms)
        assert "keeper" not in site.governor.to_tell()
        site.deliver()
    assert site.held["other"] == 3


def test_what_is_not_lent_is_kept_before_a_ledger_has_spoken() -> None:
    site = Site(KEEPER, unlent={"keeper": 5})
    del site.shares["keeper"]  # it says nothing
    site.governor.told("keeper", site.governor.record.members["keeper"].sequence, False)
    site.want(other=8)
    site.rounds(5)
    assert site.told["other"] == 3
    # Until it is lent; and whatever stood in the settings, it says better itself.
    site.governor.configure(site.settings.model_copy(update={"unlent": {}}), site.now_ms)
    site.rounds(5)
    assert site.told["other"] == 8
    site.shares = {"keeper": Share(guaranteed=6, lend_limit=3), "other": Share()}
    site.want(keeper=0)
    site.governor.configure(site.settings, site.now_ms)
    site.rounds(30)
    assert site.told == {"keeper": 3, "other": 5}


@pytest.mark.parametrize("strategy", ["reserved", "proportional"])
def test_settings_say_what_is_not_lent(strategy: str) -> None:
    quotas = {
        "keeper": {"guaranteed": 5, "lend_limit": 2},
        "lender": {"guaranteed": 2, "lend_limit": 2},
        "giver": {"guaranteed": 1},
        "sometimes": {
            "lend_limit": 1,
            "reservations": [{"begin": "08:00", "end": "09:00", "guaranteed": 8}],
        },
    }
    applied = Configuration.model_validate(
        {
            "tenants": {name: {"quotas": {"r": quota}} for name, quota in quotas.items()},
            "pools": {"p": {"resource": "r", "capacity": 8, "strategy": strategy}},
        }
    )
    assert applied.governor("p").unlent == ({"keeper": 3} if strategy == "reserved" else {})


def test_what_a_group_keeps_is_for_those_in_it() -> None:
    shares = {"inside": Share(), "outside": Share(guaranteed=1)}
    site = Site(
        shares,
        tenants={"inside": "g", "outside": None},
        groups={"g": GroupShare(guaranteed=5, lend_limit=0)},
        damping=CALM.model_copy(update={"headroom": 1}),
    )
    site.want(inside=0, outside=8)
    site.rounds(5)
    assert site.told["outside"] == 3
    site.want(inside=5)
    site.rounds(3)
    assert site.held == {"inside": 5, "outside": 3}


@pytest.mark.parametrize("strategy", [Strategy.RESERVED, Strategy.PRIORITY])
def test_nobody_gets_more_comfort_than_it_may_borrow(strategy: Strategy) -> None:
    shares = {"a": Share(guaranteed=2, borrow_limit=1), "b": Share()}
    site = Site(shares, strategy=strategy, damping=CALM.model_copy(update={"headroom": 4}))
    site.want(a=2, b=0)
    site.rounds(5)
    assert site.told["a"] == 3


def test_a_guarantee_beyond_the_maximum_is_kept_from_nobody() -> None:
    site = Site({"cut": Share(guaranteed=5, lend_limit=0, maximum=1), "other": Share()})
    site.want(cut=0, other=8)
    site.rounds(3)
    assert site.told == {"cut": 1, "other": 7}


def test_a_cut_pool_refuses_no_job_that_fits_when_the_cut_is_over() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    command = PoolCommand(id="c", actor="kim", reason="test", action="throttle", share=0)
    obey(site.governor, command, site.now_ms)
    message = site.governor.allocation_of("borrower")
    assert (message.capacity, message.whole) == ({"r": 0}, {"r": 8})
    more = PoolCommand(id="d", actor="kim", reason="test", action="set_capacity", capacity={"r": 9})
    obey(site.governor, more, site.now_ms)
    assert site.governor.allocation_of("borrower").whole == {"r": 9}


def test_what_is_left_is_shared_on_top_of_guarantees() -> None:
    site = Site(RESERVED, capacity={"r": 12})
    site.want(lender=20, borrower=20)
    site.rounds(2)
    assert site.told == {"lender": 8, "borrower": 4}


def test_what_borrowers_still_hold_is_not_given_away_before_it_comes_back() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    site.rounds(2)
    site.want(lender=6)
    site.rounds(3, lasting=("borrower",))
    assert site.told == {"lender": 0, "borrower": 2}
    assert site.governor.ceiling("borrower", "r") == 8
    site.held["borrower"] = 5
    site.wanted["borrower"] = 5
    site.say("borrower")
    site.rounds(1, lasting=("borrower",))
    assert site.told["lender"] == 3


def test_between_borrowers_it_goes_step_by_step() -> None:
    shares = {"early": Share(), "late": Share()}
    site = Site(shares, strategy=Strategy.PROPORTIONAL)
    site.want(early=8)
    site.rounds(2)
    site.want(late=8)
    site.rounds(1)
    assert site.told == {"early": 8, "late": 0}  # what was just given is left for a while
    site.now_ms += CALM.min_hold_ms
    site.governor.advance(site.now_ms)
    assert site.governor.allocation_of("early").units == {"r": 6}
    site.now_ms += CALM.min_hold_ms
    site.rounds(8)
    assert site.told == {"early": 4, "late": 4}


def test_small_differences_do_not_move_anything() -> None:
    shares = {"a": Share(), "b": Share()}
    damping = CALM.model_copy(update={"dead_zone": 0.2, "min_hold_ms": 0})
    site = Site(shares, strategy=Strategy.PROPORTIONAL, capacity={"r": 100}, damping=damping)
    site.want(a=55, b=45)
    site.rounds(3)
    assert site.told == {"a": 55, "b": 45}
    site.want(b=52)
    site.rounds(5)
    assert site.told == {"a": 55, "b": 45}  # 48 or 50 would be fair: not worth a change
    site.want(b=100)
    site.rounds(20)
    assert site.told["b"] == 45  # 50 would be fair, which is within the dead zone, too
    site.want(a=20)
    site.now_ms += 60_000
    site.rounds(20)
    assert site.told["b"] == 80


def test_an_idle_tenant_keeps_what_nobody_else_wants() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    site.rounds(2)
    site.want(borrower=0)
    site.now_ms += 60_000
    site.rounds(3)
    assert site.told["borrower"] == 8
    site.now_ms += ROUND_MS
    site.governor.advance(site.now_ms)
    assert site.governor.next_deadline() is None


def test_the_idle_owner_has_its_guarantee_at_hand_when_nobody_wants_it() -> None:
    site = Site(RESERVED)
    site.want(borrower=1)
    site.rounds(2)
    assert site.told == {"lender": 6, "borrower": 2}


def test_a_smaller_capacity_takes_away_at_once() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    site.rounds(2)
    site.governor.configure(site.settings.model_copy(update={"capacity": {"r": 3}}), site.now_ms)
    site.rounds(2)
    assert site.told["borrower"] <= 3
    assert sum(site.told.values()) <= 3
    assert site.governor.view().conditions[0].type == "OVERCOMMITTED"


def test_below_the_guarantees_each_keeps_the_same_part_of_its_own() -> None:
    site = Site(RESERVED | {"third": Share()})
    command = PoolCommand(
        id="c1", action="throttle", share=0.5, actor="ann", reason="maintenance", for_ms=60_000
    )
    obey(site.governor, command, site.now_ms)
    site.want(lender=1, borrower=8, third=8)
    site.rounds(3)
    # 6 and 2 count as 3 and 1 of 4: what the lender leaves is shared by weight.
    assert site.told == {"lender": 1, "borrower": 2, "third": 1}
    assert [one.type for one in site.governor.view().conditions] == ["OVERCOMMITTED"]
    site.want(lender=8)
    site.rounds(30)
    assert site.told == {"lender": 3, "borrower": 1, "third": 0}


def test_a_turn_of_one_does_not_scale_the_guarantees_of_the_others() -> None:
    site = Site(
        {"owner": Share(guaranteed=6), "idle": Share(guaranteed=2), "x": Share(), "y": Share()}
    )
    site.next |= {"owner": 1, "x": 2, "y": 2}
    # For x and y one unit each is left, and a job of theirs needs two: they take turns.
    site.want(owner=6, x=2, y=2)
    site.rounds(1)
    view = site.governor.view()
    targets = {tenant: member.target["r"] for tenant, member in view.members.items()}
    assert targets == {"owner": 6, "idle": 0, "x": 2, "y": 0}
    assert view.conditions == []


def test_who_has_no_weight_has_nothing_under_equal_not_even_what_lies_idle() -> None:
    site = Site({"none": Share(weight=0, guaranteed=3), "some": Share()}, strategy=Strategy.EQUAL)
    site.want(none=8, some=2)
    site.rounds(20)
    assert site.told["none"] == 0
    assert site.told["some"] >= 2


def test_operators_set_the_capacity_for_a_time() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    site.rounds(2)
    command = PoolCommand(
        id="c1", action="throttle", share=0.5, actor="ann", reason="maintenance", for_ms=60_000
    )
    obey(site.governor, command, site.now_ms)
    obey(site.governor, command, site.now_ms)
    assert site.governor.capacity() == {"r": 4}
    site.rounds(2)
    assert sum(site.told.values()) == 4
    deadline = site.governor.next_deadline()
    assert deadline is not None
    site.now_ms += 60_000
    site.rounds(2)
    assert site.governor.capacity() == {"r": 8}
    assert sum(site.told.values()) == 8
    assert [entry.action for entry in site.governor.record.audit] == ["throttle", "capacity_ended"]


def test_an_unknown_resource_is_refused_and_nothing_changes() -> None:
    site = Site(RESERVED)
    before = site.governor.record.revision
    command = PoolCommand(
        id="c1", action="set_capacity", capacity={"x": 1}, actor="ann", reason="a mistake"
    )
    with pytest.raises(ValueError, match="pool p has no resource x; it has: r"):
        obey(site.governor, command, site.now_ms)
    assert site.governor.record.revision == before
    assert site.governor.record.audit == []


def test_it_observes_without_limiting() -> None:
    site = Site(RESERVED, enforced=False)
    site.want(borrower=8, lender=8)
    site.rounds(2)
    message = site.governor.allocation_of("borrower")
    assert not message.enforced
    assert message.units == {"r": 2}


def test_older_news_and_strangers_are_left_aside() -> None:
    site = Site(RESERVED)
    site.want(borrower=8)
    site.rounds(2)
    before = site.governor.record.members["borrower"].claims
    site.messages = 0
    site.want(borrower=1)
    assert site.governor.record.members["borrower"].claims == before
    site.shares["stranger"] = Share()
    site.held["stranger"] = site.wanted["stranger"] = site.sequence["stranger"] = 0
    site.say("stranger")
    assert site.governor.record.strangers == 1
    assert "stranger" not in site.governor.record.members


def test_what_one_who_has_left_still_holds_counts_until_it_is_back() -> None:
    site = Site({"goes": Share(), "stays": Share()})
    site.want(goes=8, stays=0)
    site.rounds(3)
    assert site.held == {"goes": 8, "stays": 0}
    left = site.settings.model_copy(update={"tenants": {"stays": None}})
    site.governor.configure(left, site.now_ms)
    site.want(stays=8)
    site.rounds(20, lasting=("goes",))
    assert site.told["stays"] == 0
    (condition,) = site.governor.view().conditions
    assert condition.message == "goes shares the pool no more, and may still hold 8 r"
    # Its ledger has not heard yet that it shares the pool no more, and may grant it again.
    site.held["goes"] = 2
    site.say("goes")
    site.rounds(3, lasting=("goes",))
    assert site.told["stays"] == 0
    site.shares["goes"] = Share(weight=0.0, maximum=0)
    for held, rest in ((2, 6), (0, 8)):
        site.held["goes"] = held
        site.say("goes")
        site.rounds(3, lasting=("goes",))
        assert site.told["stays"] == rest
    assert not site.governor.view().conditions


@pytest.mark.parametrize(
    "other", [{"enforced": False}, {"strategy": Strategy.PROPORTIONAL}, {"damping": Damping()}]
)
def test_all_are_told_when_the_same_numbers_mean_something_else(other: dict[str, Any]) -> None:
    site = Site(RESERVED)
    site.want(lender=3, borrower=3)
    site.rounds(5)
    assert not site.governor.to_tell()
    site.governor.configure(site.settings.model_copy(update=other), site.now_ms)
    told = [] if "damping" in other else ["borrower", "lender"]
    assert sorted(site.governor.to_tell()) == told
    if told:
        message = site.governor.allocation_of("lender")
        assert (message.enforced, message.guarantees) == (
            other.get("enforced", True),
            "strategy" not in other,
        )


def test_all_are_told_when_a_pool_becomes_unlimited_or_no_longer_is() -> None:
    site = Site(RESERVED, strategy=Strategy.EQUAL)
    site.want(lender=3, borrower=3)
    site.rounds(5)
    for strategy in (Strategy.UNLIMITED, Strategy.EQUAL):
        now = site.settings.model_copy(update={"strategy": strategy})
        site.governor.configure(now, site.now_ms)
        assert site.governor.to_tell() == ["borrower", "lender"]
        message = site.governor.allocation_of("lender")
        assert message.enforced == (strategy is Strategy.EQUAL)
        site.rounds(3)


def test_one_who_comes_back_is_asked_what_it_holds() -> None:
    site = Site({"goes": Share(), "stays": Share()})
    site.want(goes=5, stays=0)
    site.rounds(3)
    left = site.settings.model_copy(update={"tenants": {"stays": None}})
    site.governor.configure(left, site.now_ms)
    site.governor.configure(site.settings, site.now_ms)
    site.want(stays=8)
    site.rounds(3, lasting=("goes",))
    assert not site.governor.record.left
    assert (site.held["goes"], site.told["stays"]) == (5, 3)


@pytest.mark.parametrize(
    ("strategy", "parts"), [(Strategy.PROPORTIONAL, (9, 3)), (Strategy.EQUAL, (6, 6))]
)
def test_equal_takes_no_account_of_weights_with_several_resources(
    strategy: Strategy, parts: tuple[int, int]
) -> None:
    claims = {"heavy": Claim(wanted=99, share=Share(weight=3)), "light": Claim(wanted=99)}
    governor = divided(
        {"cpu": 12, "memory": 12},
        {tenant: {"cpu": claim, "memory": claim} for tenant, claim in claims.items()},
        strategy,
    )
    targets = {name: member.target for name, member in governor.record.members.items()}
    assert targets == {
        "heavy": {"cpu": parts[0], "memory": parts[0]},
        "light": {"cpu": parts[1], "memory": parts[1]},
    }


def test_several_resources_are_divided_by_dominant_share() -> None:
    governor = divided(
        {"cpu": 9, "memory": 18},
        {
            "a": {"cpu": Claim(wanted=9), "memory": Claim(wanted=36)},
            "b": {"cpu": Claim(wanted=27), "memory": Claim(wanted=9)},
        },
    )
    targets = {name: member.target for name, member in governor.record.members.items()}
    assert targets["a"]["cpu"] + targets["b"]["cpu"] <= 9
    assert targets["a"]["memory"] + targets["b"]["memory"] <= 18
    assert targets["a"]["memory"] == pytest.approx(12, abs=1)  # two thirds of all memory
    assert targets["b"]["cpu"] == pytest.approx(6, abs=1)  # two thirds of all cpu


def divided(
    capacity: dict[str, int],
    claims: dict[str, dict[str, Claim]],
    strategy: Strategy = Strategy.PROPORTIONAL,
) -> Governor:
    """A governor that has heard of everybody and has divided."""
    settings = PoolSettings(
        capacity=capacity,
        strategy=strategy,
        tenants=dict.fromkeys(claims),
        damping=CALM,
        source="listed",
    )
    governor = Governor.begin("p", settings, 1)
    # Once it knows the incarnations, it tells each again; each says so; then it divides.
    for revision in range(1, 5):
        for tenant in claims if revision == 1 else governor.to_tell():
            sequence = governor.allocation_of(tenant).sequence
            governor.told(tenant, sequence, True)
            governor.demand(
                Demand(
                    pool="p",
                    tenant=tenant,
                    incarnation=1,
                    revision=revision,
                    sequence=sequence,
                    claims=claims[tenant],
                ),
                NOW_MS,
            )
        governor.advance(NOW_MS + 100_000)
    return governor


# Jobs that need several units at once, and groups -----------------------------------------------


class Jobs(Site):
    """Ledgers with lines of jobs: each begins when all of its units fit into the allocation."""

    def __init__(self, shares: dict[str, Share], **settings: Any) -> None:
        super().__init__(shares, **settings)
        self.lines: dict[str, list[int]] = {tenant: [] for tenant in shares}
        self.running: dict[str, list[int]] = {tenant: [] for tenant in shares}

    def say(self, tenant: str) -> None:
        line, held = self.lines[tenant], sum(self.running[tenant])
        while line and held + line[0] <= self.told[tenant]:
            self.running[tenant].append(line[0])
            held += line.pop(0)
        claim = Claim(
            held=held,
            wanted=held + sum(line),
            next=line[0] if line else 0,
            share=self.shares[tenant],
        )
        self.messages += 1
        self.governor.demand(
            Demand(
                pool="p",
                tenant=tenant,
                incarnation=1,
                revision=self.messages,
                sequence=self.sequence[tenant],
                claims={"r": claim},
            ),
            self.now_ms,
        )

    def come(self, **jobs: list[int]) -> None:
        for tenant, units in jobs.items():
            self.lines[tenant] += units
            self.say(tenant)

    def pass_time(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now_ms += ROUND_MS
            self.governor.advance(self.now_ms)
            for tenant in self.governor.to_tell():
                message = self.governor.allocation_of(tenant)
                self.governor.told(tenant, message.sequence, True)
                self.sequence[tenant], self.told[tenant] = message.sequence, message.units["r"]
                self.say(tenant)
            limits = {"g": 0, "": 0}
            for tenant in self.shares:
                limits[self.settings.tenants[tenant] or ""] += self.governor.ceiling(tenant, "r")
            assert sum(limits.values()) <= self.settings.capacity["r"]
            group = self.settings.groups.get("g")
            if group is not None and group.maximum is not None:
                assert limits["g"] <= group.maximum

    def held_now(self) -> dict[str, int]:
        return {tenant: sum(units) for tenant, units in self.running.items()}


def in_group(*tenants: str, **group: Any) -> dict[str, Any]:
    """Settings with a group of these tenants, beside ``x``."""
    return {
        "tenants": {**dict.fromkeys(tenants, "g"), "x": None},
        "groups": {"g": GroupShare(**group)},
    }


def test_fragments_of_shares_make_up_a_job() -> None:
    # Each may have 4 of 12: a job of 3 and an idle unit. Three idle units are a job more.
    site = Jobs(dict.fromkeys("abc", Share()), capacity={"r": 12}, strategy=Strategy.EQUAL)
    site.pass_time(2)
    site.come(a=[3, 3, 3], b=[3, 3, 3], c=[3, 3, 3])
    site.pass_time(60)
    assert sorted(site.held_now().values()) == [3, 3, 6]


def test_a_group_never_has_more_than_its_maximum() -> None:
    shares = {"a": Share(), "b": Share(), "x": Share()}
    site = Jobs(shares, strategy=Strategy.EQUAL, **in_group("a", "b", maximum=3))
    site.pass_time(2)
    site.come(a=[1] * 5)
    site.pass_time(20)
    assert site.held_now() == {"a": 3, "b": 0, "x": 0}
    # What is free in the pool is not free for the group: b waits until a gives something back.
    site.come(b=[1] * 5)
    site.pass_time(20)
    assert site.held_now() == {"a": 3, "b": 0, "x": 0}
    site.running["a"].pop()
    site.say("a")
    site.pass_time(20)
    assert sum(site.held_now().values()) == 3
    assert site.held_now()["b"] == 1
    site.come(x=[1] * 9)
    site.pass_time(40)
    assert site.held_now()["x"] == 5


def test_a_turn_for_a_large_job_does_not_pass_the_maximum_of_its_group() -> None:
    shares = {"a": Share(), "b": Share(), "x": Share()}
    settings = in_group("a", "b", maximum=4)
    site = Jobs(shares, strategy=Strategy.EQUAL, **settings)
    site.pass_time(2)
    site.come(x=[1] * 8, a=[4], b=[4])
    site.pass_time(40)
    while site.running["x"]:
        site.running["x"].pop()
        site.say("x")
        site.pass_time(5)
    assert sorted([site.held_now()["a"], site.held_now()["b"]]) == [0, 4]
    # And one that does not fit into the group at all is never gathered for.
    other = Jobs(shares, strategy=Strategy.EQUAL, **settings)
    other.pass_time(2)
    other.come(a=[5], x=[1] * 8)
    other.pass_time(40)
    assert other.held_now() == {"a": 0, "b": 0, "x": 8}


def test_no_turn_takes_what_is_guaranteed_to_another() -> None:
    shares = {"a": Share(guaranteed=1), "b": Share(), "c": Share()}
    site = Jobs(shares, capacity={"r": 1}, strategy=Strategy.RESERVED)
    site.pass_time(2)
    site.come(b=[1], c=[1])
    site.come(a=[1, 1, 1])
    order: list[str] = []
    for _ in range(10):
        site.pass_time(20)
        busy = [tenant for tenant, units in site.running.items() if units]
        order += busy
        for tenant in busy:
            site.running[tenant].clear()
            site.say(tenant)
    # One of the others may have been first, before a asked; then a goes on until it wants no more.
    assert sorted(order) == ["a", "a", "a", "b", "c"]
    assert "".join(order).find("aaa") in (0, 1)


def test_the_priority_of_a_group_counts_before_that_of_its_tenants() -> None:
    shares = {"a": Share(priority=0), "b": Share(priority=0), "x": Share(priority=5)}
    low = Jobs(shares, strategy=Strategy.PRIORITY, **in_group("a", "b", priority=1))
    low.pass_time(2)
    low.come(a=[2] * 4, x=[1] * 20)
    low.pass_time(40)
    assert low.held_now() == {
        "a": 0,
        "b": 0,
        "x": 8,
    }  # and no turn for a: it is left out on purpose
    high = Jobs(shares, strategy=Strategy.PRIORITY, **in_group("a", "b", priority=9))
    high.pass_time(2)
    high.come(a=[2] * 4, x=[1] * 20)
    high.pass_time(60)
    assert high.governor.view().members["a"].target["r"] == 8
    assert high.governor.view().members["x"].target["r"] == 0


def test_a_tenant_without_a_ledger_is_told_once() -> None:
    site = Site({"a": Share(), "b": Share()}, strategy=Strategy.UNLIMITED)
    told = 0
    for _ in range(20):
        for tenant in site.governor.to_tell():
            told += tenant == "b"
            message = site.governor.allocation_of(tenant)
            site.governor.told(tenant, message.sequence, tenant == "a")
            site.sequence[tenant] = message.sequence
        site.want(a=3)
        site.now_ms += ROUND_MS
        site.governor.advance(site.now_ms)
    assert told == 1
    assert site.governor.view().members["a"].target["r"] == 3
