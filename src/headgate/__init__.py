"""Headgate: durable circuit breakers and tenant quotas for job orchestrators on Temporal.

    from headgate import HeadgatePlugin, governance, governed, PermitDenied

The names are loaded when they are first used, so that importing one room does not load the house.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headgate.version import __version__

if TYPE_CHECKING:
    from headgate.model.breaker import CallOutcome
    from headgate.model.governed import GovernedCall
    from headgate.orchestrator import governance
    from headgate.orchestrator.errors import PermitDenied
    from headgate.orchestrator.governance_parts import GovernanceParts
    from headgate.orchestrator.governed import governed
    from headgate.orchestrator.plugin import HeadgatePlugin

__all__ = [
    "CallOutcome",
    "GovernanceParts",
    "GovernedCall",
    "HeadgatePlugin",
    "PermitDenied",
    "__version__",
    "governance",
    "governed",
]

_HOMES = {
    "CallOutcome": "headgate.model.breaker",
    "GovernanceParts": "headgate.orchestrator.governance_parts",
    "GovernedCall": "headgate.model.governed",
    "HeadgatePlugin": "headgate.orchestrator.plugin",
    "PermitDenied": "headgate.orchestrator.errors",
    "governance": "headgate.orchestrator.governance",
    "governed": "headgate.orchestrator.governed",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headgate' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if name == "governance" else getattr(module, name)
