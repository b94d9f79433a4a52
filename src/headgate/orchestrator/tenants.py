"""For whom a job runs, when it does not say so by a permit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from temporalio import workflow

from headgate.orchestrator.headers import TENANT_MEMO

TenantOf = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class TenantRules:
    """Where the tenant of a workflow comes from, and how Temporal itself is to know it.

    Attributes:
        tenant: The user's function, called in the workflow; it may use ``workflow.info()`` and
            must be deterministic. None, also as an answer: the other ways are tried.
        fairness: Weights by tenant: activities get the tenant as fairness key, and its weight (1
            when it is not listed). None: their priority is left alone.
    """

    tenant: TenantOf | None = None
    fairness: Mapping[str, float] | None = None

    def of_workflow(self, inherited: str | None) -> str | None:
        """Return for whom this workflow runs; for use in workflows.

        The function's word comes first, then what the parent workflow passed on, then the memo
        ``headgate-tenant``, then the fairness key.

        Args:
            inherited: What the parent passed on.
        """
        if self.tenant is not None and (named := self.tenant()):
            return named
        if inherited:
            return inherited
        in_memo = workflow.memo_value(TENANT_MEMO, None, type_hint=str)
        return in_memo or workflow.info().priority.fairness_key or None

    def weight(self, tenant: str) -> float | None:
        """Return with which weight Temporal should serve a tenant, or None."""
        return None if self.fairness is None else self.fairness.get(tenant, 1.0)
