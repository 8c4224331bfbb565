"""The answer to bytes that are no request: they reach no route, and are answered by the server itself."""

import uuid
from http import HTTPStatus

import h11
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse

from api.middleware.request_log import REQUEST_ID
from api.middleware.secure_headers import secure
from api.problems import problem
from cutout.telemetry import logs

# What the parser says of them without repeating a byte, which may be of a key.
SAFE_TEXTS = (
    "Found multiple Host: headers",
    "Illegal method characters",
    "Illegal target characters",
    "Missing mandatory Host: header",
    "bad Content-Length",
    "conflicting Content-Length headers",
    "continuation line at start of headers",
    "illegal request line",
    "no request line received",
)


def malformed_request(
    fault: h11.RemoteProtocolError | None, *, is_body: bool
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The status, headers and body of the answer: a problem with an id of its own."""
    request_id = uuid.uuid4().hex
    with logs.about(request_id=request_id):
        answer = _problem(fault, is_body=is_body)
    headers = MutableHeaders(raw=[*answer.raw_headers, (REQUEST_ID, request_id.encode())])
    secure(headers)
    return answer.status_code, headers.raw, bytes(answer.body)


def _problem(fault: h11.RemoteProtocolError | None, *, is_body: bool) -> JSONResponse:
    status = fault.error_status_hint if fault else HTTPStatus.BAD_REQUEST
    if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        text = "the request line and the headers have more than 32 kB, or are more than 100"
        return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", text)
    if status == HTTPStatus.NOT_IMPLEMENTED:
        text = "the Transfer-Encoding is not `chunked`, or came more than once"
        return problem(HTTPStatus.NOT_IMPLEMENTED, "unsupported-transfer-coding", text)
    told = next((text for text in SAFE_TEXTS if str(fault).startswith(text)), None)
    part = "the body" if is_body else "the request"
    text = f"{part} cannot be read as HTTP/1.1" + (f": {told}" if told else "")
    return problem(HTTPStatus.BAD_REQUEST, "bad-request", text)
