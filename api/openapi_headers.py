"""Headers of answers, and the methods that every address has, in the OpenAPI document."""

import copy
from collections.abc import Iterator
from typing import Any

from api.authentication import KEY_EXPIRES
from api.idempotency import FIRST_DATE, HEADER, REPLAYED

REFERENCE = "#/components/headers/"
SERVERS = [{"url": "/", "description": "The host that this document came from"}]


def _header(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "schema": schema}


TEXT: dict[str, Any] = {"type": "string"}
MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}
SECONDS: dict[str, Any] = {"type": "integer", "minimum": 0}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": _header("The request's id, as it came or as it was given; problems have it, too", TEXT),
    "ETag": _header("For `If-None-Match` and `If-Match`; weak", TEXT),
    "Location": _header("The address of what was made, or of what is redirected to", TEXT),
    "Retry-After": _header("Seconds to wait before the request is sent again", SECONDS),
    "RateLimit-Policy": _header(
        'Requests that the key may send at once, and seconds until it may again: `"key";q=2000;w=10`', TEXT
    ),
    "RateLimit": _header(
        'Requests that are left now, and seconds until all of them are: `"key";r=1999;t=1`', TEXT
    ),
    KEY_EXPIRES: _header("Only in the last days of the key: when it expires", MOMENT),
    HEADER: _header("The key that the request came with", TEXT),
    REPLAYED: _header("Only where the answer was given before", {"type": "string", "const": "true"}),
    FIRST_DATE: _header("Only where the answer was given before: when, as an HTTP date", TEXT),
    "Vary": _header("`Accept-Encoding` where an answer may be compressed, `Accept` where that chooses", TEXT),
    "WWW-Authenticate": _header("`Bearer`", TEXT),
    "Accept-Encoding": _header("`identity`, if the body came in another coding", TEXT),
    "Allow": _header("The methods of the address", TEXT),
    "Cutout-Old-Version": _header("`kept` if the bucket keeps old versions of what was deleted", TEXT),
}


def answer_headers(*names: str) -> dict[str, Any]:
    """For a route's `responses`: headers that its answers alone have."""
    return {"headers": {name: {"$ref": REFERENCE + name} for name in names}}


def describe_headers(operation: dict[str, Any], method: str, *, guarded: bool) -> None:
    """Name the headers of each answer of an operation."""
    for status, answer in operation["responses"].items():
        names = _names(status, method, answer, guarded=guarded)
        answer["headers"] = answer_headers(*names)["headers"] | answer.get("headers", {})


def head_of(get: dict[str, Any]) -> dict[str, Any]:
    """The HEAD of a GET: the same parameters, statuses and headers, and no body."""
    made = copy.deepcopy(get)
    made["operationId"] += "_head"
    made["summary"] = f"{get['summary']}: headers"
    made["description"] = "The same as GET, without a body."
    for answer in made["responses"].values():
        answer.pop("content", None)
    return made


def options_of(path: str, operations: dict[str, Any]) -> dict[str, Any]:
    """The OPTIONS of a path."""
    names = {
        parameter["name"]
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    }
    made: dict[str, Any] = {
        "tags": next(iter(operations.values()))["tags"],
        "summary": "Options",
        "description": "The methods of the address, in the header `Allow`. It needs no key.",
        "operationId": "options" + path.replace("/", "_").replace("{", "").replace("}", ""),
        "security": [],
        "responses": {
            "204": {"description": "The methods are in `Allow`", **answer_headers("Allow", "X-Request-ID")}
        },
    }
    if names:
        made["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in sorted(names)
        ]
    return made


def _names(status: str, method: str, answer: dict[str, Any], *, guarded: bool) -> Iterator[str]:
    yield "X-Request-ID"
    if guarded and status != "401":
        yield from ("RateLimit-Policy", "RateLimit", KEY_EXPIRES)
    if status in ("429", "503"):
        yield "Retry-After"
    if status == "401":
        yield "WWW-Authenticate"
    if status == "415":
        yield "Accept-Encoding"
    if method == "post" and guarded:
        yield HEADER
        if status.startswith("2"):
            yield from (REPLAYED, FIRST_DATE)
    if status in ("201", "307"):
        yield "Location"
    if status == "304" or answer.get("content"):
        yield "Vary"
