import socket

import pytest

from headgate.devstack.ports import LOOPBACK, free_port, is_free, require_free
from headgate.model.errors import UnavailableError


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(port)
        with pytest.raises(UnavailableError, match=rf"port {port} .* the Temporal UI, cannot"):
            require_free(port, "the Temporal UI")
    require_free(port, "the Temporal UI")
