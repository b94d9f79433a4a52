"""The part of Headgate inside a worker process: it answers admission and reports outcomes."""

from headgate.gate.gate import Call, Gate

__all__ = ["Call", "Gate"]
