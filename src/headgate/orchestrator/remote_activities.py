"""``headgate.admit`` and ``headgate.release`` on the governance task queue.

For jobs in any language: what is sent and answered is plain JSON, see ``docs/other-languages.md``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from headgate.model.entity import ADMIT, RELEASE
from headgate.model.errors import ConfigurationError
from headgate.model.ledger import Decision, Holder
from headgate.orchestrator.errors import invalid_request
from headgate.orchestrator.remote_admission import RemoteAdmission


class RemoteActivities:
    """The activities.

    They take whatever is sent, because an argument that does not decode would be tried again for
    ever.

    Args:
        admission: Answers them.
    """

    def __init__(self, admission: RemoteAdmission) -> None:
        self._admission = admission

    def all(self) -> Sequence[Callable[..., Any]]:
        """Return them, to be registered on a worker."""
        return (self.admit, self.release)

    @activity.defn(name=ADMIT)
    async def admit(self, *arguments: Any) -> Decision:
        """Decide whether a job may go on; a denial is a value."""
        info = activity.info()
        holder = None
        if info.workflow_id is not None:
            holder = Holder(workflow_id=info.workflow_id, run_id=info.workflow_run_id or "")
        id = f"{info.workflow_run_id or info.activity_run_id}/{info.activity_id}"
        try:
            return await self._admission.admit(_only(arguments), id, holder)
        except ConfigurationError as error:
            raise _invalid(error) from None

    @activity.defn(name=RELEASE)
    async def release(self, *arguments: Any) -> None:
        """Give back what a job held, or withdraw what it asked for."""
        try:
            await self._admission.release(_only(arguments))
        except ConfigurationError as error:
            raise _invalid(error) from None


def _only(arguments: Sequence[Any]) -> Any:
    if len(arguments) != 1:
        raise ConfigurationError(f"takes one argument, an object, and got {len(arguments)}")
    return arguments[0]


def _invalid(error: ConfigurationError) -> ApplicationError:
    name = activity.info().activity_type.removeprefix("headgate.")
    message = str(error).removeprefix(f"{name}: ")
    return invalid_request(f"headgate.{name}: {message}")
