"""From what is saved to what is shown, with its age."""

from functools import lru_cache
from typing import TypeVar

from fastapi import Response
from pydantic import BaseModel

from headgate.api.paging import Fresh
from headgate.api.problems import not_found
from headgate.api.service import Service
from headgate.gate.clock import now_ms
from headgate.model.breaker import BreakerView
from headgate.model.ids import Kind
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView
from headgate.store.pages import Saved

View = TypeVar("View", bound=BaseModel)

NAMES = {"breaker": "downstream", "ledger": "tenant", "governor": "pool"}


@lru_cache(maxsize=2_000)
def view_of(text: str, view: type[View]) -> View:
    """Return a saved view.

    A page that is open is read again whenever a row of it changes, with all the rows that have not:
    those are not read anew. A view is never changed, so it may be shared.
    """
    return view.model_validate_json(text)


def fresh(saved: Saved, view: type[View]) -> Fresh[View]:
    """Return a saved view with its age."""
    return Fresh(
        revision=saved.revision,
        saved_at_ms=saved.saved_at_ms,
        age_ms=max(0, now_ms() - saved.saved_at_ms),
        data=view_of(saved.view, view),
    )


async def one(service: Service, kind: Kind, subject: str) -> Saved:
    """Return what is saved of one.

    Raises:
        ProblemError: Nothing is.
    """
    saved = await service.pages.one(kind, subject)
    if saved is None:
        raise not_found(f"there is no {NAMES[kind]} {subject!r}")
    return saved


async def breaker(service: Service, name: str) -> Fresh[BreakerView]:
    """Return a breaker; raises as ``one``."""
    return fresh(await one(service, "breaker", name), BreakerView)


async def ledger(service: Service, name: str) -> Fresh[LedgerView]:
    """Return a ledger; raises as ``one``."""
    return fresh(await one(service, "ledger", name), LedgerView)


async def pool(service: Service, name: str) -> Fresh[PoolView]:
    """Return a pool; raises as ``one``."""
    return fresh(await one(service, "governor", name), PoolView)


def tag(response: Response, revision: int) -> None:
    """Name the revision, for ``If-Match``."""
    response.headers["ETag"] = f'"{revision}"'
