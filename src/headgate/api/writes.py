"""What every write has in common: its request id, what it was decided by, and its answer."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, Protocol, Self, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, Field, model_validator

from headgate.api.principal import Principal
from headgate.api.problems import ProblemError, not_found
from headgate.api.service import Service, service_of
from headgate.gate.clock import now_ms
from headgate.model.audit import Order
from headgate.model.contract import Contract, Millis
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import CommandReply
from headgate.orchestrator.operate import new_command_id

View = TypeVar("View")
Command = TypeVar("Command", bound=BaseModel)

_ETAG: Final = re.compile(r'"(\d{1,18})"')

Reason = Annotated[str, Field(min_length=3, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Why, in one line; it stands in the audit."""

_SHORTEST_MS: Final = 1_000
_LONGEST_MS: Final = 365 * 86_400_000

Duration = Annotated[int, Field(ge=_SHORTEST_MS, le=_LONGEST_MS)] | None


class Told(Protocol):
    """A body that says itself what a workflow is told."""

    def told(self) -> dict[str, Any]:
        """Return the fields of the command, without who gives it."""


class ForATime(Contract):
    """What holds for a time, or until a time; neither: until it is ended.

    Attributes:
        for_ms: How long it holds.
        until_ms: In place of ``for_ms``: until when, Unix time.
    """

    for_ms: Duration = None
    until_ms: Millis | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.for_ms is not None and self.until_ms is not None:
            raise ValueError("say how long by for_ms or by until_ms, not by both")
        return self

    def lasts_ms(self) -> int | None:
        """Return how long it holds from now on; null: until it is ended."""
        if self.until_ms is None:
            return self.for_ms
        left_ms = self.until_ms - now_ms()
        if left_ms < _SHORTEST_MS:
            raise ProblemError(422, "invalid", "until_ms has passed already: name a time to come")
        if left_ms > _LONGEST_MS:
            raise ProblemError(
                422, "invalid", "until_ms is more than 365 days from now: name an earlier time"
            )
        return left_ms

    def told(self) -> dict[str, Any]:
        """Return what a workflow is told: how long it holds, by its own clock."""
        fields = dict(self)
        del fields["until_ms"]
        return {**fields, "for_ms": self.lasts_ms()}

    def ends_at_ms(self) -> int | None:
        """Return until when it holds, Unix time; null: until it is ended."""
        lasts_ms = self.lasts_ms()
        return None if lasts_ms is None else self.until_ms or now_ms() + lasts_ms


class Done(BaseModel, Generic[View]):
    """What became of a write.

    Attributes:
        request_id: By which it stands in the audit; a repeat with the same key is not done again.
        dry_run: Nothing was changed.
        workflow: That was told.
        revision: After it, for `If-Match`.
        data: How it is now, or would be.
    """

    request_id: str
    dry_run: bool
    workflow: str | None
    revision: int | None = None
    data: View


class ByHand(Contract):
    """What people say of each thing that they have done by hand.

    Attributes:
        reason: Why; it stands in the audit.
        dry_run: Answer what it would do, do nothing.
    """

    reason: Reason
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One write, as its headers say.

    Attributes:
        service: That is asked.
        request: The request.
        response: For the headers of the answer.
        key: Of the one who asks; None: it gets one.
        if_revision: What it was decided by.
    """

    service: Service
    request: Request
    response: Response
    key: str | None
    if_revision: int | None

    async def begin(
        self, principal: Principal, body: BaseModel, kind: Kind | None, subject: str
    ) -> str:
        """Return the request id, written down before anything is done. A dry run gets a new one.

        Raises:
            ProblemError: The key stands for another request.
        """
        if getattr(body, "dry_run", False):
            return new_command_id()
        id = self.key or new_command_id()
        asked = {
            "path": self.request.url.path,
            "if": self.if_revision,
            "body": body.model_dump(mode="json"),
        }
        fingerprint = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
        fits = await self.service.requests.begin(
            id,
            f"{principal.id} {principal.name}"[:500],
            principal.described,
            fingerprint,
            subject,
            None if kind is None else workflow_id(kind, subject),
        )
        if not fits:
            raise ProblemError(
                422,
                "request_id_reused",
                f"the Idempotency-Key {id!r} has been used for something else: use a new one",
            )
        return id

    def order(self, command: type[Command], id: str, principal: Principal, body: Told) -> Command:
        """Return what a body asks for as a workflow takes it: with who asks, and by what state."""
        return command(id=id, actor=principal.name, if_revision=self.if_revision, **body.told())

    async def by_hand(self, principal: Principal, body: ByHand, subject: str) -> Order:
        """Begin, and return what is wanted: for what no workflow is asked for."""
        id = await self.begin(principal, body, None, subject)
        return Order(principal.name, body.reason, id, now_ms(), body.dry_run)

    def done(
        self,
        id: str,
        dry_run: bool,
        kind: Kind | None,
        subject: str,
        data: View,
        revision: int | None = None,
    ) -> Done[View]:
        """Return the answer, and name the request and the revision in its headers."""
        self.response.headers["Headgate-Request-Id"] = id
        if revision is not None and not dry_run:
            self.response.headers["ETag"] = f'"{revision}"'
        return Done(
            request_id=id,
            dry_run=dry_run,
            workflow=None if kind is None else workflow_id(kind, subject),
            revision=revision,
            data=data,
        )


_Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same for every attempt: it is done once. It becomes the request id.",
    ),
]


def _write(
    request: Request,
    response: Response,
    idempotency_key: _Key = None,
    if_match: Annotated[
        str | None,
        Header(
            max_length=100,
            pattern=r'^(\*|"[0-9]{1,18}")$',
            description="The `ETag` it was decided by: refused with 412 if people have set "
            "something since.",
        ),
    ] = None,
) -> Write:
    match = _ETAG.fullmatch(if_match) if if_match is not None else None
    revision = None if match is None else int(match[1])
    return Write(service_of(request), request, response, idempotency_key, revision)


def _adding(request: Request, response: Response, idempotency_key: _Key = None) -> Write:
    """What has no revision cannot be decided by one; to leave that unsaid would be to ignore it."""
    if request.headers.get("if-match", "*") != "*":
        raise ProblemError(
            400, "bad_request", "If-Match: this has no revision that people decide by: leave it out"
        )
    return Write(service_of(request), request, response, idempotency_key, None)


Writing = Annotated[Write, Depends(_write)]
Adding = Annotated[Write, Depends(_adding)]
"""A write of something that has no revision of its own, such as a silence."""


def require_accepted(reply: CommandReply) -> None:
    """Raise what a ledger says when it refuses.

    Raises:
        ProblemError: It does.
    """
    if reply.accepted:
        return
    message = reply.message.partition(": say so with")[0]
    if reply.refused == "not_found":
        raise not_found(message)
    if reply.refused == "below_usage":
        raise ProblemError(409, "below_usage", f"{message}; repeat it with allow_below_usage")
    if reply.refused == "changed_since":
        raise ProblemError(412, "changed_since", message)
    raise ProblemError(409, "refused", message)
