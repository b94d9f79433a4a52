"""For whom a job runs, when it does not say so by a permit."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from temporalio import workflow
from temporalio.client import WorkflowExecutionDescription
from temporalio.exceptions import ApplicationError, FailureError

from headgate.model.errors import ConfigurationError
from headgate.orchestrator.errors import invalid_request
from headgate.orchestrator.functions import is_async, takes
from headgate.orchestrator.headers import TENANT_MEMO
from headgate.orchestrator.mistakes import shown

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

    @classmethod
    def checked(cls, tenant: TenantOf | None, fairness: Mapping[str, float] | None) -> Self:
        """Return the rules, if they can be followed.

        Raises:
            ConfigurationError: One of the arguments of the plugin is not what it should be.
        """
        if tenant is not None and (
            not callable(tenant) or is_async(tenant) or not takes(tenant, 0)
        ):
            raise ConfigurationError(
                f"HeadgatePlugin: tenant is {shown(tenant)}: write a plain function without "
                "arguments that is called in workflows and returns for whom each one runs; "
                "workflow.info() says which one it is"
            )
        if fairness is not None and not isinstance(fairness, Mapping):
            raise ConfigurationError(
                f"HeadgatePlugin: fairness is {shown(fairness)}: write weights by tenant, such as "
                "{'acme': 2.0}"
            )
        for name, weight in (fairness or {}).items():
            if not isinstance(name, str) or not name:
                raise ConfigurationError(
                    f"HeadgatePlugin: fairness names the tenant {shown(name)}: write its name"
                )
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 < weight < math.inf:
                raise ConfigurationError(
                    f"HeadgatePlugin: the fairness of {name} is {shown(weight)}: write a weight "
                    "above 0; 1 is that of tenants that are not listed"
                )
        return cls(tenant, fairness)

    def of_workflow(self, inherited: str | None) -> str | None:
        """Return for whom this workflow runs; for use in workflows.

        The function's word comes first, then what the parent workflow passed on, then the memo
        ``headgate-tenant``, then the fairness key.

        Args:
            inherited: What the parent passed on.

        Raises:
            ApplicationError: The function fails, or it or the memo says what cannot be a name. Any
                other error would fail the workflow task, again and again, rather than the job.
        """
        if self.tenant is not None and (named := _said_by(self.tenant)):
            return named
        if inherited:
            return inherited
        return _in_memo() or workflow.info().priority.fairness_key or None

    def weight(self, tenant: str) -> float | None:
        """Return with which weight Temporal should serve a tenant, or None."""
        return None if self.fairness is None else self.fairness.get(tenant, 1.0)


async def tenant_described(job: WorkflowExecutionDescription) -> str | None:
    """Return for whom a job runs as far as its description says, by its memo or fairness key.

    Others may run for somebody else yet (``TenantRules.tenant``, what their parent passed on): what
    a job says itself, and what ledgers have of it, comes before this.
    """
    with suppress(Exception):  # a memo that is not a string, or that this converter cannot read
        named = await job.memo_value(TENANT_MEMO, None, type_hint=str)
        if isinstance(named, str) and named:
            return named
    return job.raw_info.priority.fairness_key or None


def _said_by(tenant: TenantOf) -> str | None:
    try:
        named = tenant()
    except FailureError:
        raise  # it fails the job by itself, as its author means it to
    except Exception as error:
        raise _of_no_use(f"raised {shown(error)}") from error
    if not named or isinstance(named, str):
        return named
    raise _of_no_use(f"returned {shown(named)}")


def _of_no_use(what: str) -> ApplicationError:
    return invalid_request(
        f"HeadgatePlugin: the function tenant {what}: have it return a name, or None where it does "
        "not know"
    )


def _in_memo() -> str | None:
    with suppress(Exception):  # whatever a converter says of what is not a string
        named = workflow.memo_value(TENANT_MEMO, None, type_hint=str)
        if named is None or isinstance(named, str):
            return named
    raise invalid_request(
        f"HeadgatePlugin: the memo {TENANT_MEMO} is not a string: start the workflow with the name "
        "of the tenant there, or leave it out"
    )
