"""The Nexus service ``HeadgateService``: the contract that callers and the handler share.

    headgate = workflow.create_nexus_client(service=HeadgateService, endpoint="headgate")
    decision = await headgate.execute_operation(
        HeadgateService.admit, AdmitRequest(tenant="acme", resource="scan")
    )

For jobs in other namespaces. Their workflows cannot be signalled: while the answer is ``waiting``,
they ask again under the same id, see ``docs/other-languages.md``.
"""

import nexusrpc

from headgate.model.ledger import Decision, Release
from headgate.model.remote import AdmitRequest

__all__ = ["AdmitRequest", "Decision", "HeadgateService", "Release"]


@nexusrpc.service(name="HeadgateService")
class HeadgateService:
    """Admission over Nexus; both operations answer at once.

    Attributes:
        admit: Decide whether a job may go on; a denial is a value.
        release: Give back what a job holds, or withdraw what it asked for.
    """

    admit: nexusrpc.Operation[AdmitRequest, Decision]
    release: nexusrpc.Operation[Release, None]
