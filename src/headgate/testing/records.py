"""What a fake gate writes down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from headgate.model.breaker import CallOutcome
from headgate.model.reason import ReasonCode


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that the gate was asked for.

    Attributes:
        kind: ``permit``: by ``governance.permit()``; ``call``: by a governed activity; ``job``: by
            the first governed activity of a job with ``hold="job"``.
        tenant: For whom; ``-`` for a call of nobody in particular.
        resource: What is counted; None: nothing.
        downstream: What is to be called; None: nothing.
        units: How much of the resource.
        also: What else a permit needs, in units by resource.
        priority: The higher is served first.
        id: Of the permit, or of the attempt of the activity; not compared.
        job: The run id of the workflow that asks; not compared.
    """

    kind: Literal["permit", "call", "job"]
    tenant: str
    resource: str | None
    downstream: str | None
    units: int = 1
    also: Mapping[str, int] = field(default_factory=dict)
    priority: int = 0
    id: str = field(default="", compare=False)
    job: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was not granted, and why."""

    asked: Asked
    code: ReasonCode


@dataclass(frozen=True, slots=True)
class Called:
    """A governed call that was made, and how it ended.

    Attributes:
        tenant: For whom; ``-`` for nobody in particular.
        resource: What it counted against, by itself or by the permit of its job; None: nothing.
        downstream: What was called.
        units: How much of the resource; under a permit, as much as that has.
        outcome: What the call says of the downstream.
        duration_ms: How long it took, in real time; not compared.
        retry_after_ms: For how long the downstream asked not to be called; 0: it did not.
        overload: It failed because the downstream had too much to do.
    """

    tenant: str
    resource: str | None
    downstream: str
    units: int
    outcome: CallOutcome
    duration_ms: int = field(default=0, compare=False)
    retry_after_ms: int = 0
    overload: bool = False
