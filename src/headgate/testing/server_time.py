"""The time of the server, which a test server may be ahead of ours with."""

from google.protobuf.empty_pb2 import Empty
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate.clock import now_ms


class ServerTime:
    """What time it is for workflows.

    Args:
        client: Of the server; None: there is none, our own clock says.
    """

    def __init__(self, client: Client | None = None) -> None:
        self._client = client
        self._skips = client is not None

    async def now_ms(self) -> int:
        """Return the Unix time."""
        if not self._skips or self._client is None:
            return now_ms()
        try:
            answer = await self._client.test_service.get_current_time(Empty())
        except RPCError as error:
            if error.status is not RPCStatusCode.UNIMPLEMENTED:
                raise
            self._skips = False  # a real server
            return now_ms()
        return answer.time.ToMilliseconds()
