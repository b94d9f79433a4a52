"""The pages, and logging in to them."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, NoReturn, get_args
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response
from temporalio.service import RPCError

from headgate.api.access import ANYONE, Guard, deny
from headgate.api.authenticate import require_same_site, session_cookie
from headgate.api.dashboard.drawings import sparkline, strip
from headgate.api.dashboard.render import NotLoggedInError, assets, render
from headgate.api.paging import Cursor, part_of, place, read, sorted_after, written
from headgate.api.principal import Principal, Role
from headgate.api.problems import ProblemError, in_public, not_found
from headgate.api.reads import fresh, one, view_of
from headgate.api.routes.alerts import find_alert, own_channels
from headgate.api.routes.jobs import explain_to
from headgate.api.routes.tenants import get_holders
from headgate.api.service import Service, service_of
from headgate.gate.clock import now_ms
from headgate.model.alert import Alert, Severity
from headgate.model.breaker import BreakerState, BreakerView, OutcomeSpan
from headgate.model.contract import Name
from headgate.model.errors import ConfigurationError, HeadgateError, UnavailableError
from headgate.model.ledger import LedgerSummary, LedgerView
from headgate.model.notifier import KindPattern, tenant_of
from headgate.model.pool import GUARANTEEING, MemberView, PoolView, Strategy
from headgate.model.why import WhyReport
from headgate.orchestrator.durations import past_moment
from headgate.orchestrator.throttles import throttles_in_force
from headgate.store.overview import TenantOrder
from headgate.view import places
from headgate.view.margin import margin
from headgate.view.standing import affected_now, tenant_standing

router = APIRouter(include_in_schema=False)

_PAGE: Final = 50
_DAY_MS: Final = 86_400_000
_SPARK_MS: Final = 600_000
_OTHERS: Final = 20
_ROWS: Final = 100
"""Rows of a table of one pool or tenant."""
_KIND: Final = TypeAdapter[str](KindPattern)


class PageAccess(Guard):
    """The guard of a page: who has not said who it is, is asked to log in."""

    async def __call__(self, request: Request) -> Principal:
        """Return who calls; raises as ``admit``."""
        return await self.admit(request)

    async def ask_who(self, request: Request, service: Service) -> NoReturn:
        """Lead to the login.

        Raises:
            NotLoggedInError: Always.
        """
        raise NotLoggedInError


Text = Annotated[str | None, Query(max_length=500, pattern=r"^[^\x00-\x1f]*$")]
"""What stands in a field of a form; an empty one is sent as well."""

Viewer = Annotated[Principal, Depends(PageAccess(Role.VIEWER))]
TenantViewer = Annotated[Principal, Depends(PageAccess(Role.VIEWER, "tenant"))]
OwnViewer = Annotated[Principal, Depends(PageAccess(Role.VIEWER, "own"))]


@router.get("/")
async def overview(request: Request, principal: OwnViewer) -> Response:
    """Show whether work is flowing, and what needs attention."""
    if principal.tenant is not None:
        return RedirectResponse(f"/tenants/{quote(principal.tenant, safe='')}", 303)
    service, now = service_of(request), now_ms()
    mark = await service.pages.now()
    standing, states, pools, tenants, throttles, totals = await asyncio.gather(
        service.overview.status(now),
        service.overview.states(),
        service.pages.page("governor", 12),
        service.pages.page("ledger", 8, order="waiting"),
        throttles_in_force(service.database, now),
        service.pages.totals("ledger"),
    )
    alerts = await service.alerts.recent(_PAGE, is_open=True)
    return render(
        request,
        principal,
        "overview.html",
        mark=mark,
        standing=standing,
        states=states,
        pools=[fresh(row, PoolView).data for row in pools],
        pool_count=standing.totals.pools,
        tenants=[fresh(row, LedgerView) for row in tenants if row.waiting],
        tenant_count=totals[0],
        held=totals[2],
        waiting=totals[1],
        throttles=throttles[:_OTHERS],
        throttle_count=len(throttles),
        alerts=len(alerts),
        most=_PAGE,
    )


@router.get("/downstreams")
async def downstreams(
    request: Request,
    principal: Viewer,
    search: Text = None,
    state: Text = None,
    sort: Literal["trouble", "name"] = "trouble",
    cursor: Cursor = None,
) -> Response:
    """Show a tile for each breaker, unless told otherwise those in trouble first."""
    service, now, (after, value) = service_of(request), now_ms(), sorted_after(cursor, sort)
    mark = await service.pages.now()
    saved = await service.pages.page(
        "breaker",
        _PAGE + 1,
        search=search or None,
        states=[state] if state else None,
        order=sort,
        after=after,
        after_value=value,
    )
    more, saved = len(saved) > _PAGE, saved[:_PAGE]
    spans = await service.snapshots.outcome_spans(None, now - _SPARK_MS)
    by_name: dict[str, list[OutcomeSpan]] = {}
    for name, span in spans:
        by_name.setdefault(name, []).append(span)
    tiles: list[dict[str, Any]] = []
    for row in saved:
        shown = fresh(row, BreakerView)
        of = by_name.get(row.subject, [])
        tiles.append(
            {
                "fresh": shown,
                "view": shown.data,
                "margin": margin(shown.data),
                "affected": affected_now(shown.data, now),
                "spark": sparkline(of, now),
                "per_s": _per_s(of, now),
            }
        )
    following = _next(request, sort, saved[-1].value, saved[-1].subject) if more else None
    return render(
        request,
        principal,
        "downstreams.html",
        mark=mark,
        tiles=tiles,
        search=search,
        state=state,
        states=list(BreakerState),
        sort=sort,
        next=following,
    )


@router.get("/downstreams/{downstream:segment}")
async def downstream(
    request: Request, principal: Viewer, downstream: Name, cursor: Cursor = None
) -> Response:
    """Show one breaker; of its transitions, those before ``cursor``."""
    service, now, before = service_of(request), now_ms(), read(cursor, int)
    mark = await service.pages.now()
    shown = fresh(await one(service, "breaker", downstream), BreakerView)
    day, steps, spans, audit, created_ms = await asyncio.gather(
        service.pages.transitions(downstream, 1_000, since_ms=now - _DAY_MS),
        service.pages.transitions(
            downstream, _PAGE + 1, before_epoch=None if before is None else int(before[0])
        ),
        service.snapshots.outcome_spans(downstream, now - _SPARK_MS),
        service.audit.lines(10, target=f"breaker/{downstream}"),
        service.pages.created_ms("breaker", downstream),
    )
    met = [step for step in reversed(day) if step.enforced]
    more, steps = len(steps) > _PAGE, steps[:_PAGE]
    return render(
        request,
        principal,
        "downstream.html",
        mark=mark,
        fresh=shown,
        view=shown.data,
        margin=margin(shown.data),
        affected=affected_now(shown.data, now),
        spark=sparkline([span for _, span in spans], now),
        per_s=_per_s([span for _, span in spans], now),
        strip=strip(met, shown.data.state, now - _DAY_MS, now, known_ms=created_ms),
        created_ms=created_ms if created_ms > now - _DAY_MS else None,
        steps=steps or ([] if before else list(reversed(shown.data.transitions))),
        next=_next(request, steps[-1].epoch) if more else None,
        audit=audit,
    )


@router.get("/tenants")
async def tenants(
    request: Request,
    principal: Viewer,
    search: Text = None,
    sort: TenantOrder = "waiting",
    cursor: Cursor = None,
) -> Response:
    """Show a bar for each tenant."""
    service, now, (after, value) = service_of(request), now_ms(), sorted_after(cursor, sort)
    mark = await service.pages.now()
    saved = await service.pages.page(
        "ledger",
        _PAGE + 1,
        search=search or None,
        order=sort,
        after=after,
        after_value=value,
    )
    more, saved = len(saved) > _PAGE, saved[:_PAGE]
    shown = [
        tenant_standing(view_of(row.view, LedgerSummary), row.saved_at_ms, now) for row in saved
    ]
    following = _next(request, sort, saved[-1].value, saved[-1].subject) if more else None
    return render(
        request,
        principal,
        "tenants.html",
        mark=mark,
        tenants=shown,
        resources=sorted({of.resource for one in shown for of in one.resources}),
        search=search,
        sort=sort,
        next=following,
    )


@router.get("/tenants/{tenant:segment}")
async def tenant(
    request: Request, principal: TenantViewer, tenant: Name, cursor: Cursor = None
) -> Response:
    """Show one tenant."""
    service = service_of(request)
    mark = await service.pages.now()
    shown = fresh(await one(service, "ledger", tenant), LedgerView)
    page, audit, pools = await asyncio.gather(
        get_holders(request, principal, tenant, _ROWS, cursor),
        service.audit.lines(20, target=f"ledger/{tenant}"),
        service.pages.named(
            "governor", [limits.pool for limits in shown.data.limits.values() if limits.pool]
        ),
    )
    strategies = {row.subject: view_of(row.view, PoolView).settings.strategy for row in pools}
    return render(
        request,
        principal,
        "tenant.html",
        mark=mark,
        fresh=shown,
        view=shown.data,
        standing=tenant_standing(shown.data, shown.saved_at_ms, now_ms()),
        guaranteeing=[pool for pool, strategy in strategies.items() if strategy in GUARANTEEING],
        page=page,
        start=place(cursor),
        next=None if page.next_cursor is None else _at(request, page.next_cursor),
        audit=audit,
    )


@router.get("/pools")
async def pools(
    request: Request, principal: Viewer, search: Text = None, cursor: Cursor = None
) -> Response:
    """Show who gets what of each pool."""
    service, after = service_of(request), read(cursor, str)
    mark = await service.pages.now()
    saved = await service.pages.page(
        "governor",
        _PAGE + 1,
        search=search or None,
        after=None if after is None else str(after[0]),
    )
    shown = [fresh(row, PoolView) for row in saved[:_PAGE]]
    return render(
        request,
        principal,
        "pools.html",
        mark=mark,
        pools=shown,
        search=search,
        next=_next(request, saved[_PAGE - 1].subject) if len(saved) > _PAGE else None,
    )


@router.get("/pools/{pool:segment}")
async def pool(
    request: Request,
    principal: Viewer,
    pool: Name,
    search: Text = None,
    sort: Literal["waiting", "held", "name"] = "waiting",
    cursor: Cursor = None,
) -> Response:
    """Show one pool."""
    service = service_of(request)
    mark = await service.pages.now()
    shown = fresh(await one(service, "governor", pool), PoolView)
    audit = await service.audit.lines(10, target=f"governor/{pool}")
    members = members_of(shown.data, search, sort)
    page = part_of(members, _ROWS, cursor)
    return render(
        request,
        principal,
        "pool.html",
        members=page.items,
        matching=len(members),
        search=search,
        sort=sort,
        most=_ROWS,
        next=None if page.next_cursor is None else _at(request, page.next_cursor),
        mark=mark,
        fresh=shown,
        view=shown.data,
        strategies=list(Strategy),
        audit=audit,
    )


@router.get("/jobs")
async def jobs(
    request: Request,
    principal: OwnViewer,
    workflow_id: Annotated[str | None, Query(max_length=1_000, pattern=r"^[^\x00-\x1f]*$")] = None,
) -> Response:
    """Show why a job waits."""
    mark = await service_of(request).pages.now()
    report, problem, wanted, status = None, None, (workflow_id or "").strip(), 200
    if wanted:
        try:
            report = await explain_to(request, principal, wanted)
        except (ProblemError, HeadgateError, RPCError) as error:
            problem = in_public(error)
            is_away = isinstance(error, UnavailableError | RPCError)
            status = error.status if isinstance(error, ProblemError) else 503 if is_away else 404
    return render(
        request,
        principal,
        "jobs.html",
        status=status,
        mark=None if report is None else mark,
        watch=_watched(report),
        workflow_id=wanted,
        report=report,
        problem=problem,
    )


@router.get("/alerts")
async def alerts(
    request: Request,
    principal: OwnViewer,
    search: Text = None,
    severity: Literal["", "info", "warning", "critical"] = "",
    kind: Text = None,
    tenant: Text = None,
    cursor: Cursor = None,
) -> Response:
    """Show what people were told of: what is still so first, then all, and what is silenced."""
    service, before, problem = service_of(request), read(cursor, int), None
    mark = await service.pages.now()
    if principal.tenant is not None and tenant not in (None, "", principal.tenant):
        await deny(request, service, principal, not_found(f"there is no tenant {tenant!r}"))
    if kind:
        try:
            _KIND.validate_python(kind)
        except ValidationError as error:
            problem = f"{kind} {error.errors()[0]['msg'].removeprefix('Value error, ')}"
    asked: dict[str, Any] = {
        "search": search or None,
        "severity": severity or None,
        "kind": None if problem else kind or None,
        "tenant": principal.tenant or tenant or None,
        "among": await own_channels(service, principal),
    }
    still, found, silences = await asyncio.gather(
        service.alerts.recent(_PAGE, is_open=True, **asked),
        service.alerts.recent(
            _PAGE // 2 + 1, before=None if before is None else int(before[0]), **asked
        ),
        service.silences.in_force(),
    )
    recent = found[: _PAGE // 2]
    named = {name: asked[name] for name in ("kind", "severity", "tenant") if asked[name]}
    return render(
        request,
        principal,
        "alerts.html",
        mark=mark,
        open=still,
        recent=recent,
        silences=silences,
        most=_PAGE,
        search=search,
        severity=severity,
        severities=get_args(Severity),
        choices=[
            [None, "any", ""],
            *([one, one, f"--severity {one}"] for one in get_args(Severity)),
        ],
        kind=kind,
        tenant=tenant,
        problem=problem,
        asked=bool(search or severity or kind or tenant),
        named=named,
        next=_next(request, recent[-1].seq) if len(found) > len(recent) else None,
    )


@router.get("/alerts/{id:segment}")
async def alert(
    request: Request,
    principal: OwnViewer,
    id: Annotated[str, Path(max_length=1_000, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")],
) -> Response:
    """Show one alert: its text, what can be done, where it went, every attempt."""
    service = service_of(request)
    mark = await service.pages.now()
    told = await find_alert(request, principal, id)
    others = []
    if told.alert.key:
        others = await service.alerts.recent(
            _OTHERS,
            key=told.alert.key,
            tenant=principal.tenant,
            among=await own_channels(service, principal),
        )
    return render(
        request,
        principal,
        "alert.html",
        mark=mark,
        told=told,
        alert=told.alert,
        about=_about(told.alert, principal),
        others=[one for one in others if one.seq != told.seq],
    )


@router.get("/audit")
async def audit(
    request: Request,
    principal: Viewer,
    actor: Text = None,
    target: Text = None,
    search: Text = None,
    action: Text = None,
    since: Text = None,
    until: Text = None,
    cursor: Cursor = None,
) -> Response:
    """Show who changed what, and who was denied."""
    service, now, before = service_of(request), now_ms(), read(cursor, int)
    mark = await service.pages.now()
    problem, found = None, []
    try:
        found = await service.audit.lines(
            _PAGE + 1,
            before_id=None if before is None else int(before[0]),
            actor=actor or None,
            target=target or None,
            search=search or None,
            action=action or None,
            since_ms=past_moment(since, "Since", now) if since else None,
            until_ms=past_moment(until, "Until", now) if until else None,
        )
    except ConfigurationError as error:
        problem = str(error)
    lines = found[:_PAGE]
    return render(
        request,
        principal,
        "audit.html",
        mark=mark,
        lines=lines,
        problem=problem,
        asked={
            "search": search or target,
            "actor": actor,
            "action": action,
            "since": since,
            "until": until,
        },
        next=_next(request, lines[-1].id) if len(found) > _PAGE else None,
    )


@router.get("/login", dependencies=[Depends(ANYONE)])
async def login_page(
    request: Request, to: Annotated[str, Query(max_length=2_000)] = "/"
) -> Response:
    """Ask for a key."""
    return render(request, None, "login.html", to=_local(to), problem=None)


@router.post("/login", dependencies=[Depends(ANYONE)])
async def login(request: Request) -> Response:
    """Begin a session with a key."""
    service = service_of(request)
    await _require_same_site(request, service)
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    to = _local(form.get("to", ["/"])[0])
    key = await service.keys.find(form.get("key", [""])[0].strip())
    if key is None:
        refusal = ProblemError(401, "unauthenticated", "the key is unknown, revoked or over")
        try:
            await deny(request, service, None, refusal)
        except ProblemError as error:
            return render(
                request, None, "login.html", status=error.status, to=to, problem=error.detail
            )
    lasts = timedelta(seconds=service.settings.session_s)
    token = await service.keys.begin_session(key, lasts)
    name, secure = session_cookie(request, service)
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        name,
        token,
        max_age=service.settings.session_s,
        httponly=True,
        secure=secure,
        samesite="strict",
        path="/",
    )
    return answer


@router.post("/logout", dependencies=[Depends(ANYONE)])
async def logout(request: Request) -> Response:
    """End the session."""
    service = service_of(request)
    await _require_same_site(request, service)
    name, secure = session_cookie(request, service)
    if (token := request.cookies.get(name)) is not None:
        await service.keys.end_session(token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


@router.get("/static/{file}", dependencies=[Depends(ANYONE)])
async def static(request: Request, file: str) -> Response:
    """Serve what pages are made up with."""
    found = assets().get(file)
    if found is None:
        raise not_found(f"there is no file {file!r}")
    headers = {"Cache-Control": "max-age=31536000, immutable"}
    return Response(found.content, media_type=found.media_type, headers=headers)


async def _require_same_site(request: Request, service: Service) -> None:
    """Refuse what the page of another site has a browser send, with a line in the audit."""
    try:
        require_same_site(request, service)
    except ProblemError as error:
        await deny(request, service, None, error)


def _watched(report: WhyReport | None) -> str:
    """Return what a report is made of, so that it is made anew when that changes."""
    if report is None:
        return ""
    names = {f"ledger/{one.tenant}" for one in report.holds}
    names |= {f"ledger/{one.tenant}" for one in report.obstacles if one.tenant}
    names |= {f"breaker/{one.downstream}" for one in report.obstacles if one.downstream}
    names |= {f"governor/{one.pool}" for one in report.obstacles if one.pool}
    return " ".join(sorted(names))


def _about(alert: Alert, principal: Principal) -> str | None:
    """Return the page of what an alert is about; None: there is none, or not for the caller."""
    is_theirs = principal.tenant is None or tenant_of(alert) == principal.tenant
    return places.page_of(alert) if is_theirs else None


def members_of(
    view: PoolView, search: str | None, sort: Literal["waiting", "held", "name"]
) -> list[tuple[str, MemberView]]:
    """Return who shares a pool, of those with this in the name; the most waiting or held first."""
    wanted = (search or "").lower()
    found = [one for one in view.members.items() if wanted in one[0].lower()]
    if sort == "name":
        return sorted(found)
    return sorted(found, key=lambda one: (-sum(getattr(one[1], sort).values()), one[0]))


def _local(to: str) -> str:
    """Return a path of this dashboard: nobody is sent elsewhere by logging in."""
    plain = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable()
    return to if plain and "\\" not in to else "/"


def _next(request: Request, *keys: str | int) -> str:
    """Return the address of the next page."""
    return _at(request, written(*keys))


def _at(request: Request, cursor: str) -> str:
    return "?" + urlencode({**request.query_params, "cursor": cursor})


def _per_s(spans: list[OutcomeSpan], now: int) -> float:
    """Return calls a second, over the last whole minute."""
    recent = [span for span in spans if now - 70_000 <= span.at_ms < now - 10_000]
    return sum(span.successes + span.failures + span.ignored for span in recent) / 60
