"""Which outcomes of a call say what about the health of a downstream."""

from typing import Annotated

from pydantic import Field

from headgate.model.contract import Contract

OutcomeName = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^([1-5]\d\d|[1-5]xx|[A-Za-z_][\w.]*)$")
]
"""An HTTP status (``404``), a class of them (``4xx``), the name of an exception type or of the
``type`` of an ``ApplicationError``."""


class OutcomeRules(Contract):
    """How outcomes are classified, in addition to the built-in rules and before them.

    Built in: a call that returns succeeds. Of a call that raises, HTTP statuses 408, 425, 429 and
    5xx are failures, other 4xx are ignored (the caller was wrong, the downstream is well), and so
    are cancellations; every other exception is a failure.

    Attributes:
        success: These count as success.
        failure: These count as failure, also as the status of a result that is returned.
        ignored: These say nothing about the downstream.
    """

    success: list[OutcomeName] = []
    failure: list[OutcomeName] = []
    ignored: list[OutcomeName] = []
