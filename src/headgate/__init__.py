"""Headgate: durable circuit breakers and tenant quotas for job orchestrators on Temporal.

    from headgate import HeadgatePlugin, governance, PermitDenied

The names are loaded when they are first used, so that importing one room does not load the house.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headgate.version import __version__

if TYPE_CHECKING:
    from headgate.orchestrator import governance
    from headgate.orchestrator.errors import PermitDenied
    from headgate.orchestrator.governance_parts import GovernanceParts
    from headgate.orchestrator.plugin import HeadgatePlugin

__all__ = ["GovernanceParts", "HeadgatePlugin", "PermitDenied", "__version__", "governance"]

_HOMES = {
    "GovernanceParts": "headgate.orchestrator.governance_parts",
    "HeadgatePlugin": "headgate.orchestrator.plugin",
    "PermitDenied": "headgate.orchestrator.errors",
    "governance": "headgate.orchestrator.governance",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headgate' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if name == "governance" else getattr(module, name)
