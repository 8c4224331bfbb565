"""A log of requests: gives each an id, measures it, and logs its changes."""

import logging
import re
import time
import uuid
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import metrics
from api.answer_headers import answer_headers
from api.client_address import client_address
from api.problems import problem
from cutout.telemetry import logs, traces

log = logging.getLogger(__name__)
audit = logging.getLogger(logs.AUDIT)

REQUEST_ID = b"x-request-id"
ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
READS = frozenset({"GET", "HEAD", "OPTIONS"})
NO_ROUTE = "none"


class Requests:
    """ASGI middleware, outermost but for headers. A request keeps its `X-Request-ID`, or gets one."""

    def __init__(self, app: ASGIApp, *, log_reads: bool = False) -> None:
        """`log_reads`: log requests that only look, too, at INFO."""
        self.app, self._log_reads = app, log_reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(REQUEST_ID, b"").decode("latin-1")
        request_id = given if ID.fullmatch(given) else uuid.uuid4().hex
        # Each request is a task of its own, so its id ends with it.
        ids = logs.begin(request_id=request_id)
        answer = _Answer(scope, send, request_id)
        with metrics.UNDER_WAY.track_inprogress(), _span(scope, headers, request_id) as span:
            try:
                await self.app(scope, receive, answer.send)
            except Exception:
                if not answer.begun:
                    await _broken(request_id)(scope, receive, answer.send)
                raise
            finally:
                name = _write_down(scope, answer, ids, log_reads=self._log_reads)
                if span is not None:
                    span.update_name(name)
                    span.set_attribute("http.response.status_code", answer.status)


def _span(scope: Scope, headers: dict[bytes, bytes], request_id: str) -> AbstractContextManager[Any]:
    """The beginning of the trace, or its middle if the producer has one; nothing for those who only look."""
    if scope["method"] in READS:
        return traces.NOTHING
    parent = headers.get(traces.TRACEPARENT.encode(), b"").decode("latin-1")
    return traces.joined("request", parent, {"cutout.request_id": request_id})


class _Answer:
    """Sends on what the app answers, and remembers when and how it began."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope, self._send, self._request_id = scope, send, request_id
        self._asked_at = time.perf_counter()
        self.begun = False
        self.status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        self.seconds = 0.0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            self.seconds = time.perf_counter() - self._asked_at
            added = [(REQUEST_ID, self._request_id.encode()), *answer_headers(self._scope)]
            message["headers"] = [*message.get("headers", ()), *added]
        await self._send(message)


def _broken(request_id: str) -> ASGIApp:
    text = f"an unexpected error; name the request {request_id} to whoever runs this API"
    # The server closes the connection after an error; a client that waits on it must learn so.
    close = {"Connection": "close"}
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", text, headers=close)


def _write_down(scope: Scope, answer: _Answer, ids: logs.Ids, *, log_reads: bool) -> str:
    """Count and log the request; returns its method and route. Its address itself may hold anything."""
    method = scope["method"] if scope["method"] in metrics.METHODS else "other"
    route = getattr(scope.get("route"), "path", NO_ROUTE)
    metrics.answered(method, route, answer.status, answer.seconds)
    for name, value in scope.get("path_params", {}).items():
        if name in ("job_id", "batch_id") and ID.fullmatch(value):
            ids[name] = value
    # Pollers ask more than anyone wants to read.
    telling = log_reads or method not in READS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    level = logging.INFO if telling else logging.DEBUG
    client = client_address(scope)
    told = {"client": client, "duration_seconds": round(answer.seconds, 6)}
    log.log(level, "%s %s: %d in %.3f s", method, route, answer.status, answer.seconds, extra=told)
    # A request that was refused has rolled its row back.
    if "action_id" in ids and answer.status < HTTPStatus.BAD_REQUEST:
        action = f"{method} {route}"
        of_key = ids.get("key_id", "none"), ids.get("producer_id", "none")
        extra = {"client": client, "action": action}
        audit.info("%s by key %s of producer %s from %s", action, *of_key, client, extra=extra)
    return f"{method} {route}"
