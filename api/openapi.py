"""The OpenAPI document: what FastAPI knows of the routes, and what holds for all of them."""

import re
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.idempotency import HEADER, REPLAYED
from api.openapi_examples import EXAMPLES
from api.openapi_headers import HEADERS, SERVERS, describe_headers, head_of, options_of
from api.operations import METHODS
from api.problem_types import PREFIX, PROBLEM_TYPES
from api.problems import MEDIA_TYPE
from cutout.settings import Settings

OWN_PROBLEMS = "x-problems"
GUARDED = "/v1/"
REDIRECTED = "307"
REDIRECT = "A link to the object in the bucket, in `Location`: it needs no key, and is good for five minutes"

SECURITY = {
    "ApiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key that the operator gave you. The scope `read` is for GET and HEAD, `enqueue` for"
        " the other methods, `admin` for all and for what spends money by itself. OPTIONS needs no key.",
    }
}
PROBLEM = {
    "title": "Problem",
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "Stable; docs/reference/problems.md lists all."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong this time, with the value."},
        "instance": {
            "type": "string",
            "pattern": "^urn:cutout:request:[A-Za-z0-9_.-]{1,64}$",
            "description": "The request, by the answer's `X-Request-ID`: name it to whoever runs this API.",
        },
        "field": {"type": "string", "description": "The part of the request that is at fault."},
        "remedy": {"type": "string", "description": "What to do about problems of this type."},
        "job_id": {"type": "string", "format": "uuid", "description": "Of `job-exists`: the existing job."},
        "schedule_id": {
            "type": "string",
            "format": "uuid",
            "description": "Of `schedule-exists`: the existing schedule.",
        },
    },
}
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
BINARY = {"type": "string", "format": "binary", "minLength": 1}
IDEMPOTENCY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Makes it safe to send the request again: within 24 hours the same key and request"
    f" have the same answer, with the header `{REPLAYED}: true`, and no other effect. A JSON body is the same"
    " whatever its blanks and the order of its members.",
    "schema": {"type": "string", "pattern": "^[!-~][ -~]*$", "minLength": 1, "maxLength": 255},
    "example": "1e1f3c4e-7d0a-4d43-9d5c-2f4f3a1f0f5b",
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "Changes nothing unless the ETag that you read is still that of the resource. Counts that"
    " moved meanwhile do not matter.",
    "schema": {"type": "string"},
    "example": 'W/"3.d1c8a2b0f4e9"',
}

IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "ETags, one of which what you change must still have; else 412 `changed-meanwhile`",
    "schema": {"type": "string"},
    "example": "*",
}


def changes_what_was_seen(*kinds: str) -> dict[str, Any]:
    """For the `openapi_extra` of a route that changes a resource, by `If-Match` if asked to."""
    return {"parameters": [IF_MATCH], **problems(*kinds)}


def problems(*kinds: str) -> dict[str, Any]:
    """For a route's `openapi_extra`: the problems that it alone has."""
    return {OWN_PROBLEMS: list(kinds)}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a body that FastAPI does not read itself, for `openapi_extra`."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def merge_patch_of(model: type[BaseModel]) -> dict[str, Any]:
    """The body of a PATCH, for `openapi_extra`: a JSON merge patch."""
    content = {kind: {"schema": schema_of(model)} for kind in (MERGE_PATCH, JSON)}
    return {"requestBody": {"required": True, "content": content}}


def query_of(model: type[BaseModel], of_what: str) -> list[dict[str, Any]]:
    """The model's fields as parameters of the query, for `openapi_extra`."""
    made = schema_of(model)
    parameters = []
    for name, field in made["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind != {"type": "null"}]
        schema = {
            word: value for word, value in (field | kinds[-1]).items() if word not in ("anyOf", "title")
        }
        text = of_what + schema.pop("description", name)
        parameters.append({"name": name, "in": "query", "description": text, "schema": schema})
    return parameters


def form_schema_of(model: type[BaseModel], *, file: str) -> dict[str, Any]:
    """The schema of a multipart form with the model's fields, which no form can send as null, and a file."""
    made = schema_of(model)
    for name, field in made["properties"].items():
        kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
        if kinds:
            rest = {word: value for word, value in field.items() if word not in ("anyOf", "default")}
            made["properties"][name] = rest | kinds[0]
    made["properties"][file] = BINARY
    made["title"] = f"{made['title']}Form"
    return made | {"required": [*made.get("required", []), file]}


def describe(app: FastAPI, settings: Settings) -> None:
    """Make the app's document complete: problems, keys, limits and examples of each route."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            app.openapi_schema = _completed(made, settings)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(document: dict[str, Any], settings: Settings) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    document["components"]["securitySchemes"] = SECURITY
    schemas["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["servers"] = SERVERS
    document["components"] |= {"headers": HEADERS, "examples": _problem_examples()}
    for path, operations in document["paths"].items():
        guarded = path.startswith(GUARDED)
        for method, operation in list(operations.items()):
            _complete(operation, method, guarded=guarded)
            schemas.update(_lifted(operation))
            describe_headers(operation, method, guarded=guarded)
        if "get" in operations:
            operations["head"] = head_of(operations["get"])
        operations["options"] = options_of(path, operations)
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    schemas["BatchRequest"]["properties"]["jobs"]["maxItems"] = settings.max_batch_jobs
    _link(document["paths"])
    return document


def _lifted(operation: dict[str, Any]) -> dict[str, Any]:
    """Definitions inside a body's schema, moved to the components."""
    found: dict[str, Any] = {}
    for body in operation.get("requestBody", {}).get("content", {}).values():
        schema = body["schema"]
        found |= schema.pop("$defs", {})
        if "title" in schema:
            found[schema["title"]] = schema
            body["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}
    return found


def _link(paths: dict[str, Any]) -> None:
    """Say that the id in the answer to a POST is the one in the paths below."""
    for path, operations in paths.items():
        answers = operations.get("post", {}).get("responses", {})
        made = [answers[status] for status in ("201", "202") if status in answers]
        for below, others in paths.items():
            name = re.fullmatch(re.escape(path) + r"/\{(\w+)\}(/\w+)?", below)
            if name:
                called = [others[method]["operationId"] for method in METHODS if method in others]
                parameters = {name[1]: "$response.body#/id"}
                for answer in made:
                    answer["links"] = answer.get("links", {}) | {
                        operation: {"operationId": operation, "parameters": parameters}
                        for operation in called
                    }


def _complete(operation: dict[str, Any], method: str, *, guarded: bool) -> None:
    kinds = [*_common_problems(operation, method, guarded=guarded), *operation.pop(OWN_PROBLEMS, [])]
    answers = operation["responses"]
    by_status: dict[HTTPStatus, list[str]] = defaultdict(list)
    for kind in kinds:
        by_status[PROBLEM_TYPES[kind].status].append(kind)
    if REDIRECTED in answers:
        answers[REDIRECTED]["description"] = REDIRECT
    # FastAPI's own 422 is of another form than ours.
    answers.pop("422", None)
    for status, named in sorted(by_status.items()):
        answers[str(int(status))] = _answer(named)
    if guarded:
        operation["security"] = [{"ApiKey": []}]
    if guarded and method == "post":
        operation.setdefault("parameters", []).append(IDEMPOTENCY)
    if "changed-meanwhile" in kinds:
        operation.setdefault("parameters", []).append(IF_MATCH)


def _common_problems(operation: dict[str, Any], method: str, *, guarded: bool) -> Iterator[str]:
    yield "internal-error"
    if not guarded:
        return
    yield from ("no-key", "wrong-key", "operator-key", "producer-suspended", "scope-missing")
    yield from ("rate-limited", "too-many-wrong-keys", "invalid-request")
    if any(code.startswith("2") and answer.get("content") for code, answer in operation["responses"].items()):
        yield "not-acceptable"
    if method != "get":
        yield "unsupported-media-type"
    if IF_MATCH in operation.get("parameters", []):
        yield "changed-meanwhile"
    yield from ("too-many-at-once", "busy", "database-unavailable", "storage-unavailable")
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        kind = f"unknown-{parameter['name'].removesuffix('_id')}"
        if parameter["in"] == "path" and kind in PROBLEM_TYPES:
            yield kind
    if "requestBody" in operation:
        yield from ("bad-request", "too-slow", "body-too-large")
    if method == "post":
        yield from ("invalid-idempotency-key", "idempotency-key-reused", "idempotency-key-in-use")


def _answer(kinds: list[str]) -> dict[str, Any]:
    examples = {kind: {"$ref": f"#/components/examples/{kind}"} for kind in kinds}
    return {
        "description": "; ".join(f"`{kind}`: {PROBLEM_TYPES[kind].title}" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


def _problem_examples() -> dict[str, Any]:
    return {
        kind: {
            "value": {
                "type": PREFIX + kind,
                "title": known.title,
                "status": int(known.status),
                "detail": "…",
                "instance": "urn:cutout:request:6f1c0f5e4c0b4e0f9a52d3c1b7a8e9f0",
                "remedy": known.remedy,
            }
        }
        for kind, known in PROBLEM_TYPES.items()
    }
