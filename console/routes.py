"""All routes of the console, below /console."""

from fastapi import APIRouter, Request, Response

from console import sign_in
from console.changes import batch as batch_changes
from console.changes import calls, delivery, held, retry, undo
from console.changes import job as job_changes
from console.changes import schedule as schedule_changes
from console.console import console_of
from console.cookies import session_token
from console.faults import not_found
from console.guarded_route import GuardedRoute, OpenRoute
from console.live import StreamResponse
from console.pages import answer_headers, screen_request, viewer_of
from console.screens import (
    add,
    batch,
    batches,
    downloads,
    failed,
    job,
    limit,
    money,
    now,
    plan,
    schedules,
    search,
    system,
)
from console.screens.trouble import given_up_webhooks, held_jobs, results_at_risk, trouble
from cutout.producers.sessions import token_hash

LONGEST_SHOWN = 100
MOST_PARTS = 5
CHANGES = (batch_changes, retry, job_changes, schedule_changes, calls, held, delivery, undo)
SCREENS = (
    now,
    batches,
    add,
    plan,
    batch,
    downloads,
    job,
    trouble,
    held_jobs,
    results_at_risk,
    given_up_webhooks,
    failed,
    schedules,
    money,
    limit,
    system,
    search,
)

router = APIRouter(include_in_schema=False)
opened = APIRouter(prefix="/console", route_class=OpenRoute, include_in_schema=False)
guarded = APIRouter(prefix="/console", route_class=GuardedRoute, include_in_schema=False)


@opened.get("/assets/{name}")
async def asset(name: str, request: Request) -> Response:
    """The stylesheet or the module."""
    return console_of(request).assets.answer(request, name)


@guarded.get("/events")
async def events(request: Request) -> Response:
    """The named parts of the page at an address whenever they were made anew, as server-sent events."""
    console, viewer = console_of(request), viewer_of(request)
    path, _, query = request.query_params.get("page", "").partition("?")
    wanted, names = screen_request(request, path, query), request.query_params.getlist("part")
    token = token_hash(session_token(request) or "")
    stream = console.hub.open(viewer, token, wanted, set(names[:MOST_PARTS]))
    headers = {**answer_headers(console), "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamResponse(console.hub, stream, headers)


@guarded.api_route("/{address:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def nothing(address: str) -> Response:
    """The page for an address that is of no screen."""
    raise not_found(f"page “{address[:LONGEST_SHOWN]}”")


for each in (sign_in.router, opened, *(module.router for module in (*SCREENS, *CHANGES))):
    router.include_router(each)
# Last: it takes what is left.
router.include_router(guarded)
