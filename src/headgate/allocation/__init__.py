"""Who gets what of a pool: the solver and the strategies; pure functions of claims."""

from headgate.allocation.claims import (
    Claim,
    Division,
    DominantClaim,
    DominantDivision,
    Group,
)
from headgate.allocation.dominant import divide_dominant
from headgate.allocation.strategies import divide
from headgate.model.pool import Condition, Strategy

__all__ = [
    "Claim",
    "Condition",
    "Division",
    "DominantClaim",
    "DominantDivision",
    "Group",
    "Strategy",
    "divide",
    "divide_dominant",
]
