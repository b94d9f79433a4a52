"""The benchmark of a gate's memory, which costs little enough to be run with the tests."""

from bench.gate_memory import measure


def test_a_gate_with_a_thousand_tenants_is_small() -> None:
    figures = measure()
    assert 0 < figures["gate_memory_mb"] < 20
    assert figures["bare_mb"] > figures["gate_memory_mb"]
