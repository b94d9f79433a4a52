"""The fixture of pytest."""

import pytest

from headgate.testing.gate import FakeGate


@pytest.fixture
def headgate_gate() -> FakeGate:
    """A gate of the test's own, which grants everything until told otherwise."""
    return FakeGate()
