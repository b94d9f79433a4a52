"""The applied configuration of one breaker or ledger, as its workflow receives it."""

from typing import Literal

from headgate.model.contract import Contract, Name
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota


class BreakerSettings(Contract):
    """The policy of a breaker.

    Attributes:
        policy: When it opens and closes.
        source: ``listed`` when the configuration names the downstream, else ``default``.
        outcomes: Which outcomes count as what, beyond the built-in rules.
        depends_on: Downstreams without which this one cannot work.
        dependents: Downstreams that name this one as a dependency.
    """

    policy: BreakerPolicy = BreakerPolicy()
    source: Literal["listed", "default"] = "default"
    outcomes: OutcomeRules = OutcomeRules()
    depends_on: list[Name] = []
    dependents: list[Name] = []


class LedgerSettings(Contract):
    """The quotas of a tenant.

    Attributes:
        quotas: By resource; ``*`` stands for every resource that is not named. Null when the
            configuration neither lists the tenant nor has a default: then nothing is granted.
        source: ``listed`` when the configuration names the tenant, ``default`` when it has the
            quotas of ``*``, ``none`` when there is neither.
    """

    quotas: dict[Name | Literal["*"], Quota] | None = None
    source: Literal["listed", "default", "none"] = "none"
