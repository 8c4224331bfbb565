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
from api.problem_types import PREFIX, PROBLEM_TYPES
from api.problems import MEDIA_TYPE
from cutout.settings import Settings

OWN_PROBLEMS = "x-problems"
METHODS = ("get", "put", "post", "delete", "patch")
GUARDED = "/v1/"

SECURITY = {
    "ApiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key made by `cutout keys make`. The scope `read` is for GET, `enqueue` for the"
        " other methods, `admin` for both and for what spends money by itself.",
    }
}
PROBLEM = {
    "title": "Problem",
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Stable; docs/reference/problems.md lists all."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong this time, with the value."},
        "field": {"type": "string", "description": "The part of the request that is at fault."},
        "remedy": {"type": "string", "description": "What to do about problems of this type."},
    },
}
BINARY = {"type": "string", "format": "binary", "minLength": 1}
IDEMPOTENCY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Makes it safe to send the request again: within 24 hours the same key and request"
    f" have the same answer, with the header `{REPLAYED}: true`, and no other effect.",
    "schema": {"type": "string", "pattern": "^[!-~][ -~]*$", "minLength": 1, "maxLength": 255},
    "example": "1e1f3c4e-7d0a-4d43-9d5c-2f4f3a1f0f5b",
}


def problems(*kinds: str) -> dict[str, Any]:
    """For a route's `openapi_extra`: the problems that it alone has."""
    return {OWN_PROBLEMS: list(kinds)}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a body that FastAPI does not read itself, for `openapi_extra`."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


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


def methods_at(app: FastAPI, address: str) -> list[str]:
    """The methods of a path in the document; none for a path that it does not have."""
    return sorted(
        method.upper()
        for path, operations in app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), address)
        for method in METHODS
        if method in operations
    )


def _completed(document: dict[str, Any], settings: Settings) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    document["components"]["securitySchemes"] = SECURITY
    schemas["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                _complete(operations[method], method, guarded=path.startswith(GUARDED))
                schemas.update(_lifted(operations[method]))
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
    # FastAPI's own 422 is of another form than ours.
    answers.pop("422", None)
    for status, named in sorted(by_status.items()):
        answers[str(int(status))] = _answer(status, named)
    if guarded:
        operation["security"] = [{"ApiKey": []}]
    if guarded and method == "post":
        operation.setdefault("parameters", []).append(IDEMPOTENCY)


def _common_problems(operation: dict[str, Any], method: str, *, guarded: bool) -> Iterator[str]:
    yield "internal-error"
    if not guarded:
        return
    yield from ("no-key", "wrong-key", "scope-missing", "rate-limited", "too-many-wrong-keys")
    yield from ("too-many-at-once", "busy", "database-unavailable", "storage-unavailable")
    parameters = operation.get("parameters", [])
    if parameters or "requestBody" in operation:
        yield "invalid-request"
    for parameter in parameters:
        kind = f"unknown-{parameter['name'].removesuffix('_id')}"
        if parameter["in"] == "path" and kind in PROBLEM_TYPES:
            yield kind
    if "requestBody" in operation:
        yield from ("bad-request", "too-slow", "body-too-large", "unsupported-media-type")
    if method == "post":
        yield from ("invalid-idempotency-key", "idempotency-key-reused", "idempotency-key-in-use")


def _answer(status: HTTPStatus, kinds: list[str]) -> dict[str, Any]:
    examples = {
        kind: {
            "value": {
                "type": PREFIX + kind,
                "title": PROBLEM_TYPES[kind].title,
                "status": int(status),
                "detail": "…",
                "remedy": PROBLEM_TYPES[kind].remedy,
            }
        }
        for kind in kinds
    }
    return {
        "description": "; ".join(f"`{kind}`: {PROBLEM_TYPES[kind].title}" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }
