"""The job: scan, attest, decide."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from calls import Release, attest, evaluate, scan

_TIMEOUT = timedelta(seconds=30)


@workflow.defn
class ReleaseJob:
    """Releases one artifact for one tenant; failing calls are retried, as Temporal does it."""

    @workflow.run
    async def run(self, release: Release) -> str:
        """Return what became of it."""
        await workflow.execute_activity(scan, release, start_to_close_timeout=_TIMEOUT)
        await workflow.execute_activity(attest, release, start_to_close_timeout=_TIMEOUT)
        allowed = await workflow.execute_activity(
            evaluate, release, start_to_close_timeout=_TIMEOUT
        )
        return "released" if allowed else "rejected"
