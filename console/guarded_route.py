"""Routes of the console: whose session it is comes first, and each error ends as a page."""

import logging
import math
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from console.console import Console, console_of
from console.cookies import require_private, session_token
from console.cross_site import SAFE, require_same_origin
from console.faults import PageError, SignedOutError
from console.pages import FRAGMENT, answer_headers, problem_page, viewer_of
from console.templates import address_with
from cutout.telemetry import logs

log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
SIGN_IN = "/console/sign-in"


class OpenRoute(APIRoute):
    """A route that needs no session; its errors are pages, and what it changes comes from our pages."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                require_same_origin(request)
                await self.admit(request, console_of(request))
                return self.told(request, await handle(request))
            except SignedOutError:
                return _signed_out(request)
            except PageError as error:
                return problem_page(request, error)
            except RequestValidationError:
                fault = PageError(HTTPStatus.NOT_FOUND, "There is no such page.", "Begin at “Now”.")
                return problem_page(request, fault)
            except HTTPException as error:
                fault = PageError(HTTPStatus(error.status_code), str(error.detail), "Go back and try again.")
                return problem_page(request, fault)
            except Exception:
                log.exception("a page of the console failed")
                text = f"An unexpected error; name the request {logs.present('request_id')} to the operator."
                return problem_page(request, PageError(HTTPStatus.INTERNAL_SERVER_ERROR, text))

        return guarded

    async def admit(self, request: Request, console: Console) -> None:
        """Let the request pass, or raise."""

    def told(self, _request: Request, answer: Response) -> Response:
        """The answer, once those who look were told of what it changed."""
        return answer


class GuardedRoute(OpenRoute):
    """A route for those who signed in: `request.state.viewer` is who asks."""

    async def admit(self, request: Request, console: Console) -> None:
        """Raise SignedOutError without a valid session, PageError for too many requests of its key."""
        if session_token(request) is None:
            raise SignedOutError
        require_private(request)
        viewer = await console.viewer(request)
        if viewer is None:
            raise SignedOutError
        wait_s = console.handed.wait_for(viewer.key_id)
        if wait_s:
            raise PageError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Your key sends too many requests.",
                "Wait a moment.",
                wait_s=math.ceil(wait_s),
            )
        request.state.viewer = viewer
        logs.note(key_id=str(viewer.key_id), producer_id=str(viewer.producer_id or "none"))

    def told(self, request: Request, answer: Response) -> Response:
        """The answer; a change that was carried out ends the views that were made before it."""
        if request.method not in SAFE and answer.status_code < HTTPStatus.BAD_REQUEST:
            console_of(request).views.changed(viewer_of(request).producer_id)
        return answer


def _signed_out(request: Request) -> Response:
    """To the sign-in and back; what a script asked for is refused, so that it loads the page anew."""
    if FRAGMENT in request.headers or request.url.path.endswith("/events"):
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    if request.method not in SAFE:
        return RedirectResponse(SIGN_IN, status_code=HTTPStatus.SEE_OTHER)
    if request.headers.get("sec-fetch-site") == "cross-site" and session_token(request) is None:
        # A link on another site: the browser keeps the cookie back until a page of ours asks.
        return _ask_again(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(address_with(SIGN_IN, next=here), status_code=HTTPStatus.SEE_OTHER)


def _ask_again(request: Request) -> Response:
    console = console_of(request)
    page = console.templates.page("ask_again.html", {"theme": ""})
    return Response(page, headers=answer_headers(console), media_type="text/html")
