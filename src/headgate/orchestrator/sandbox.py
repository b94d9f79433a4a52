"""The workflow sandbox: the user's runner is kept, and Headgate passes through it."""

import dataclasses

from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from headgate.model.errors import ConfigurationError


def with_passthrough(existing: WorkflowRunner | None) -> WorkflowRunner:
    """Return the runner, with Headgate's modules shared by all workflows if it is a sandbox."""
    if existing is None:
        raise ConfigurationError("HeadgatePlugin: the worker has no workflow runner")
    if not isinstance(existing, SandboxedWorkflowRunner):
        return existing
    # The pure rooms know no clock and no chance, which import-linter holds; importing them anew
    # for every workflow would only cost time.
    restrictions = existing.restrictions.with_passthrough_modules("headgate")
    return dataclasses.replace(existing, restrictions=restrictions)
