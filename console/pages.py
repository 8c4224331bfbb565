"""Pages: a screen in the console's frame, or the part of it that a script asks for again."""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection
from starlette.datastructures import QueryParams
from starlette.routing import compile_path

from console.console import Console, console_of
from console.cookies import theme_of
from console.faults import PageError, not_found
from console.rendered import part_of, values_of
from console.viewer import Right, Viewer
from console.views import ScreenRequest, View

# Of a request: the block of the page that is wanted.
FRAGMENT = "cutout-fragment"
READ_AT, AS_OF = "Cutout-Read-At", "Cutout-As-Of"
LONGEST_FIELD = 300
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {pictures}; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# Screens in the order of the navigation: address, name, and whether operators alone have it. One that no
# module serves is left out.
PLACES = (
    ("/console", "Now", False),
    ("/console/batches", "Batches", False),
    ("/console/add", "Add work", False),
    ("/console/trouble", "Trouble", False),
    ("/console/schedules", "Schedules", False),
    ("/console/money", "Money", False),
    ("/console/limit", "Limit", True),
    ("/console/system", "System", True),
)
SEARCH = "/console/search"
# Served by itself: its form is used once, and for those who may enqueue.
ADD = "/console/add"
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a screen: who asks, and with which fields. A wrong field is as none such."""

    console: Console
    viewer: Viewer
    path: Mapping[str, str]
    query: Mapping[str, str]
    base_url: str

    async def read(self, look: Callable[[Connection], T]) -> T:
        """Run statements on the console's connections in the viewer's turn."""
        return await self.console.pool.read(look, of=self.viewer.producer_id)

    def id(self, name: str) -> uuid.UUID:
        """The id in the path; PageError, 404, if it is none."""
        try:
            return uuid.UUID(self.path[name])
        except ValueError:
            raise not_found("such page") from None

    def after(self, name: str = "after") -> uuid.UUID | None:
        """The id behind which a page of a list begins."""
        try:
            return uuid.UUID(self.query[name])
        except (KeyError, ValueError):
            return None

    def text(self, name: str) -> str:
        """A field of the query, empty without it."""
        return self.query.get(name, "")[:LONGEST_FIELD].replace("\0", "")

    def choice(self, name: str, of: type[E]) -> E | None:
        """A field that is one of these words; None without it."""
        try:
            return of(self.query.get(name, ""))
        except ValueError:
            return None


Screen = Callable[[Asked], Awaitable[View]]

# Screens by the paths of their routes, with what matches these.
_SERVED: dict[str, tuple[re.Pattern[str], Screen]] = {}


def screen(router: APIRouter, path: str) -> Callable[[Screen], Screen]:
    """Serve what the decorated function asks and shows at `path`, for every viewer who may see it."""

    def register(ask: Screen) -> Screen:
        async def show(request: Request) -> Response:
            wanted = screen_request(request, request.url.path, request.url.query)
            view = await console_of(request).views.get(wanted)
            if view.goes_to is not None:
                return RedirectResponse(view.goes_to, status_code=HTTPStatus.SEE_OTHER)
            return answer(request, view, wanted)

        _SERVED[path] = compile_path(path)[0], ask
        router.add_api_route(path, show, methods=["GET"], include_in_schema=False, name=ask.__name__)
        return ask

    return register


def screen_request(request: Request, path: str, query: str) -> ScreenRequest:
    """The screen at an address, for the viewer of the request. Raises PageError, 404, without one there."""
    viewer, base_url = viewer_of(request), str(request.base_url).rstrip("/")
    for pattern, ask in _SERVED.values():
        if found := pattern.match(path):
            asked = Asked(console_of(request), viewer, found.groupdict(), QueryParams(query), base_url)
            kind = viewer.unnamed()
            own = {"viewer": kind, "places": _places(kind), "here": path}
            return ScreenRequest(ask.__module__, path, query, kind, base_url, own, partial(ask, asked))
    raise not_found("such page")


def viewer_of(request: Request) -> Viewer:
    """The viewer of a request that was let in."""
    found: Viewer = request.state.viewer
    return found


def answer(request: Request, view: View, wanted: ScreenRequest) -> Response:
    """The page, or the one block of it that the request names, with an ETag."""
    console, name = console_of(request), request.headers.get(FRAGMENT)
    if name is None:
        page = console.templates.page(view.template, values_of(view, {**wanted.frame, **frame(request)}))
        return Response(page, media_type="text/html", headers=answer_headers(console))
    part = part_of(console.templates, view, wanted, name)
    headers = {
        **answer_headers(console),
        "ETag": part.tag,
        READ_AT: part.read_at,
        AS_OF: part.as_of,
        "Cache-Control": "private, no-cache",
        "Vary": f"Cookie, {FRAGMENT}",
    }
    if request.headers.get("if-none-match") == part.tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(part.text, media_type="text/html", headers=headers)


def frame(request: Request) -> dict[str, Any]:
    """Values of the frame around each page."""
    viewer: Viewer | None = getattr(request.state, "viewer", None)
    return {
        "viewer": viewer,
        "theme": theme_of(request),
        "places": _places(viewer) if viewer else [],
        "here": request.url.path,
        "search": SEARCH if SEARCH in _SERVED else None,
        "searched": request.query_params.get("q", "")[:LONGEST_FIELD],
    }


def _places(viewer: Viewer) -> list[tuple[str, str]]:
    return [
        (address, name)
        for address, name, for_operators in PLACES
        if (address in _SERVED or address == ADD)
        and (viewer.is_operator or not for_operators)
        and (address != ADD or viewer.may(Right.OPERATE))
    ]


def answer_headers(console: Console) -> dict[str, str]:
    """Headers of each page: nothing of another host, no frame, and no word to other sites."""
    return {
        "Content-Security-Policy": POLICY.format(pictures=console.picture_origin),
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def problem_page(request: Request, error: PageError) -> Response:
    """The page that says what is wrong and what to do."""
    console = console_of(request)
    is_read = request.method in ("GET", "HEAD")
    # What was sent is not sent again by itself.
    values = {**frame(request), "title": error.status.phrase, "fault": error, "comes_again": is_read}
    headers = {**answer_headers(console), "Cache-Control": "no-store"}
    if error.wait_s is not None:
        headers["Retry-After"] = str(error.wait_s)
    page = console.templates.page("problem.html", values)
    return Response(page, status_code=error.status, media_type="text/html", headers=headers)
