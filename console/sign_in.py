"""Signing in by a key or by a link that works once, and signing out."""

import asyncio
import math
import time
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from console.console import console_of
from console.cookies import drop_session, is_local, require_private, session_token, set_session
from console.faults import PageError
from console.guarded_route import SIGN_IN, OpenRoute
from console.handed import TooManyTriesError
from console.pages import answer_headers, frame
from console.pool import SESSIONS
from cutout.producers.sessions import end_session, make_session, token_hash, use_link
from cutout.telemetry import logs

router = APIRouter(prefix="/console", route_class=OpenRoute, include_in_schema=False)

HOME = "/console"
WRONG_KEY = "This key is unknown, revoked or expired."
TOO_MANY = "Your key sends too many requests; wait a moment."
SUSPENDED = "The operator suspended this producer."
MAY_NOT_LOOK = "This key has not the scope “read”: it cannot see anything here."
# Whatever is wrong with a key, its answer takes as long.
REFUSED_AFTER_S = 0.3
MOST_FIELDS = 5
LONGEST_FIELD = 4096


@router.get("/sign-in")
async def show_sign_in(request: Request) -> Response:
    """The form for a key."""
    return _form(request, "", HTTPStatus.OK, _next(request.query_params.get("next", "")))


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Make a session with a key, and go on to where one came from."""
    began = time.monotonic()
    require_private(request)
    console, fields = console_of(request), await _fields(request)
    onward = _next(fields.get("next", ""))
    try:
        key = await console.handed.find_key(
            fields.get("key", "").strip(), console.handed.address_of(request.scope)
        )
    except TooManyTriesError as error:
        seconds = math.ceil(error.wait_s)
        text = f"Too many wrong keys came from your address; wait {seconds} s."
        return _form(request, text, HTTPStatus.TOO_MANY_REQUESTS, onward, {"Retry-After": str(seconds)})
    fault = WRONG_KEY if key is None else SUSPENDED if key.suspended else "" if key.may_look else MAY_NOT_LOOK
    if key is None or fault:
        await asyncio.sleep(max(REFUSED_AFTER_S - (time.monotonic() - began), 0.0))
        return _form(request, fault, HTTPStatus.FORBIDDEN, onward)
    key_id = key.id
    logs.note(key_id=str(key_id))
    if wait_s := console.handed.wait_for(key_id):
        headers = {"Retry-After": str(math.ceil(wait_s))}
        return _form(request, TOO_MANY, HTTPStatus.TOO_MANY_REQUESTS, onward, headers)
    former = session_token(request)

    def renew(connection: Connection) -> str:
        if former is not None:
            end_session(connection, token_hash(former))
        return make_session(connection, key_id)

    return _signed_in(request, await console.pool.change(renew, of=SESSIONS), onward)


@router.get("/link")
async def show_link(request: Request) -> Response:
    """The button that uses the link: to look at it changes nothing, and a checker of links uses none up."""
    values = {**frame(request), "title": "Sign in", "token": request.query_params.get("token", "")[:100]}
    page = console_of(request).templates.page("link.html", values)
    return Response(page, media_type="text/html", headers=answer_headers(console_of(request)))


@router.post("/link")
async def use(request: Request) -> Response:
    """Make a session by a link, which works once and on the machine itself alone."""
    console, fields = console_of(request), await _fields(request)
    if not is_local(request):
        raise PageError(
            HTTPStatus.FORBIDDEN, "This link works on the machine itself alone.", "Sign in with a key."
        )
    address = console.handed.address_of(request.scope)
    former = session_token(request)

    def renew(connection: Connection, link_sha256: bytes) -> str | None:
        made = use_link(connection, link_sha256)
        if made is not None and former is not None:
            end_session(connection, token_hash(former))
        return made

    token = await console.tokens.look_up(fields.get("token", ""), address, renew, changes=True)
    if token is None:
        raise PageError(
            HTTPStatus.FORBIDDEN,
            "This link was used already, or is older than 10 minutes.",
            "Start `cutout up` again for another one, or sign in with a key.",
        )
    return _signed_in(request, token, HOME)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session; its token is worth nothing from then on."""
    token, console = session_token(request), console_of(request)
    if token is not None:
        address = console.handed.address_of(request.scope)
        await console.tokens.look_up(token, address, end_session, changes=True)
    response = RedirectResponse(SIGN_IN, status_code=HTTPStatus.SEE_OTHER)
    drop_session(request, response)
    return response


def _signed_in(request: Request, token: str, onward: str) -> Response:
    console_of(request).tokens.note_made(token)
    response = RedirectResponse(onward, status_code=HTTPStatus.SEE_OTHER)
    set_session(request, response, token)
    return response


def _form(
    request: Request, fault: str, status: HTTPStatus, onward: str, headers: dict[str, str] | None = None
) -> Response:
    console = console_of(request)
    values = {**frame(request), "title": "Sign in", "fault": fault, "next": onward}
    page = console.templates.page("sign_in.html", values)
    all_headers = {**answer_headers(console), **(headers or {})}
    return Response(page, status_code=status, media_type="text/html", headers=all_headers)


async def _fields(request: Request) -> dict[str, str]:
    """The texts of a form."""
    async with request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


def _next(given: str) -> str:
    """An address of the console; anything else is its first page."""
    is_ours = given.startswith(f"{HOME}/") or given == HOME
    return given if is_ours and given.isprintable() and "\\" not in given and "//" not in given else HOME
