"""The applied configuration of one breaker or ledger, as its workflow receives it."""

from typing import Annotated, Literal

from pydantic import Field

from headgate.model.alert_rules import AlertRules
from headgate.model.contract import Contract, Message, Name
from headgate.model.lease import WhenAway, WhenAwayName
from headgate.model.limits import LimitPolicy
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota, Throttle


class BreakerSettings(Contract):
    """The policy of a breaker.

    Attributes:
        policy: When it opens and closes.
        source: ``listed`` when the configuration names the downstream, else ``default``.
        outcomes: Which outcomes count as what, beyond the built-in rules.
        depends_on: Downstreams without which this one cannot work.
        dependents: Downstreams that name this one as a dependency.
        when_away: What gates do when the breaker cannot be reached and its verdict is old.
        limit: What limits the calls to it.
        pools: Pools whose capacity follows the limit of the whole fleet.
        alerts: When people are told of something; None: applied before there were rules, then only
            of openings and recoveries.
    """

    policy: BreakerPolicy = BreakerPolicy()
    source: Literal["listed", "default"] = "default"
    outcomes: OutcomeRules = OutcomeRules()
    depends_on: list[Name] = []
    dependents: list[Name] = []
    when_away: WhenAwayName = WhenAway.FAIL_STATIC
    limit: LimitPolicy | None = None
    pools: list[Name] = []
    alerts: AlertRules | None = None


class LedgerSettings(Contract):
    """The quotas of a tenant.

    Attributes:
        quotas: By resource; ``*`` stands for every resource that is not named. Null when the
            configuration neither lists the tenant nor has a default: then nothing is granted.
        source: ``listed`` when the configuration names the tenant, ``default`` when it has the
            quotas of ``*``, ``none`` when there is neither.
        pools: The pool of each resource that is shared; the governor of the pool says how much of
            it the tenant may hold.
        group: The group that the tenant is part of.
        paused: Why nothing is granted to the tenant; null: it is not suspended.
        resource_throttles: Pauses and cuts of resources, set for all tenants by operators.
        alerts: When people are told of something; None: applied before there were rules, then only
            of levels of ``max_active``.
    """

    quotas: dict[Name | Literal["*"], Quota] | None = None
    source: Literal["listed", "default", "none"] = "none"
    pools: dict[Name, Name] = {}
    group: Name | None = None
    paused: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    resource_throttles: list[Throttle] = []
    alerts: AlertRules | None = None


class Reconfigure(Message):
    """The quotas of a tenant, as they were decided on at a revision of its ledger.

    Attributes:
        settings: What is to hold.
        if_revision: The ledger refuses it if people have set something since.
    """

    settings: LedgerSettings
    if_revision: Annotated[int, Field(ge=0)]
