"""Changes of the API are breaking where a client that was right is not right any more."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.openapi_changes import changes

BASE: dict[str, Any] = {
    "paths": {
        "/jobs": {
            "get": {
                "security": [{"ApiKey": []}],
                "parameters": [
                    {
                        "name": "limit",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 1, "maximum": 200},
                    }
                ],
                "responses": {
                    "200": {
                        "headers": {"ETag": {}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}},
                    },
                    "404": {"content": {}},
                },
            },
            "post": {
                "security": [{"ApiKey": []}],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Request"}}},
                },
                "responses": {"201": {}},
            },
        }
    },
    "components": {
        "securitySchemes": {"ApiKey": {"type": "http", "scheme": "bearer", "description": "a key"}},
        "schemas": {
            "Job": {
                "type": "object",
                "required": ["id", "state"],
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "state": {"type": "string", "enum": ["queued", "done"]},
                    "credits": {"type": "integer"},
                    "error": {"anyOf": [{"$ref": "#/components/schemas/Error"}, {"type": "null"}]},
                    "parent": {"$ref": "#/components/schemas/Job"},
                    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                },
            },
            "Error": {"type": "object", "properties": {"code": {"type": "string"}}},
            "Request": {
                "type": "object",
                "additionalProperties": True,
                "required": ["source"],
                "properties": {
                    "source": {"type": "string", "maxLength": 2048},
                    "form": {"enum": ["rgba", "mask"]},
                    "weight": {"type": "number", "minimum": 0},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "budget": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
            },
        },
    },
}

Edit = Callable[[dict[str, Any]], object]


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def job(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema(document, "Job")["properties"]
    return found


def request(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema(document, "Request")["properties"]
    return found


def get(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"]["/jobs"]["get"]
    return found


def new_parameter(document: dict[str, Any], *, required: bool) -> None:
    get(document)["parameters"].append(
        {"name": "state", "in": "query", "required": required, "schema": {"type": "string"}}
    )


BREAKING: dict[str, Edit] = {
    "a path is gone": lambda d: d["paths"].pop("/jobs"),
    "an operation is gone": lambda d: d["paths"]["/jobs"].pop("post"),
    "a good answer is gone": lambda d: get(d)["responses"].pop("200"),
    "a media type of an answer is gone": lambda d: get(d)["responses"]["200"].update(content={}),
    "a header of an answer is gone": lambda d: get(d)["responses"]["200"].update(headers={}),
    "a member of an answer is gone": lambda d: job(d).pop("credits"),
    "a member of an answer may be missing": lambda d: schema(d, "Job").update(required=["id"]),
    "a member of an answer has another type": lambda d: job(d)["credits"].update(type="string"),
    "a member of an answer may be null": lambda d: job(d)["credits"].update(type=["integer", "null"]),
    "an answer has a new value": lambda d: job(d)["state"]["enum"].append("lost"),
    "an answer's values are not listed any more": lambda d: job(d)["state"].pop("enum"),
    "an answer has a new choice": lambda d: job(d)["error"]["anyOf"].append({"type": "string"}),
    "a member within a choice is gone": lambda d: schema(d, "Error")["properties"].pop("code"),
    "the values of a map have another type": lambda d: job(d)["counts"].update(
        additionalProperties={"type": "string"}
    ),
    "an answer is of another format": lambda d: job(d)["id"].pop("format"),
    "a request needs a new member": lambda d: (
        request(d).update(name={"type": "string"}),
        schema(d, "Request").update(required=["source", "name"]),
    ),
    "a request needs a member that it did not": lambda d: schema(d, "Request").update(
        required=["source", "form"]
    ),
    "a request's member is gone": lambda d: request(d).pop("form"),
    "a request's value is gone": lambda d: request(d)["form"]["enum"].remove("mask"),
    "a request's values are listed": lambda d: request(d)["source"].update(enum=["a"]),
    "a request's text is shorter": lambda d: request(d)["source"].update(maxLength=100),
    "a request's number is larger": lambda d: request(d)["weight"].update(minimum=1),
    "a request's number is bounded": lambda d: request(d)["weight"].update(maximum=10),
    "a request's number is whole": lambda d: request(d)["weight"].update(type="integer"),
    "a request's text has a pattern": lambda d: request(d)["source"].update(pattern="^https"),
    "a request's item has another type": lambda d: request(d)["tags"].update(items={"type": "integer"}),
    "a request's member may not be null": lambda d: request(d)["budget"]["anyOf"].pop(),
    "a request may have no other members": lambda d: schema(d, "Request").update(additionalProperties=False),
    "a new parameter is needed": lambda d: new_parameter(d, required=True),
    "a parameter is needed now": lambda d: get(d)["parameters"][0].update(required=True),
    "a parameter is gone": lambda d: get(d)["parameters"].clear(),
    "a parameter is bounded lower": lambda d: get(d)["parameters"][0]["schema"].update(maximum=100),
    "a key is asked for by another scheme": lambda d: d["components"]["securitySchemes"]["ApiKey"].update(
        scheme="basic"
    ),
    "another scope is needed": lambda d: get(d).update(security=[{"ApiKey": ["admin"]}]),
}
HARMLESS: dict[str, Edit] = {
    "a new path": lambda d: d["paths"].update({"/batches": copy.deepcopy(d["paths"]["/jobs"])}),
    "a new operation": lambda d: d["paths"]["/jobs"].update(head=get(d)),
    "a new answer": lambda d: get(d)["responses"].update({"406": {}}),
    "a problem is gone": lambda d: get(d)["responses"].pop("404"),
    "a new header": lambda d: get(d)["responses"]["200"]["headers"].update(Vary={}),
    "a new member of an answer": lambda d: job(d).update(step={"type": "string"}),
    "a member of an answer is always there": lambda d: schema(d, "Job")["required"].append("credits"),
    "an answer has a value less": lambda d: job(d)["state"]["enum"].remove("queued"),
    "a new member of a request": lambda d: request(d).update(name={"type": "string"}),
    "a request's member may be missing": lambda d: schema(d, "Request").update(required=[]),
    "a request has a new value": lambda d: request(d)["form"]["enum"].append("crop"),
    "a request's text may be longer": lambda d: request(d)["source"].update(maxLength=4096),
    "a request's bound is gone": lambda d: request(d)["weight"].pop("minimum"),
    "a request's member may be of another type, too": lambda d: request(d)["weight"].update(
        type=["number", "string"]
    ),
    "a new parameter that is not needed": lambda d: new_parameter(d, required=False),
}


def edited(edit: Edit) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    edit(document)
    return document


@pytest.mark.parametrize("edit", BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_found(edit: Edit) -> None:
    """Where a request that was taken is refused, or an answer lacks what it had."""
    assert any(change.breaking for change in changes(BASE, edited(edit)))


@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_change_is_told_and_not_held_for_breaking(edit: Edit) -> None:
    """Additions, and requests of which more are taken."""
    found = changes(BASE, edited(edit))
    assert found
    assert not [str(change) for change in found if change.breaking]


def test_texts_are_no_changes() -> None:
    """Descriptions, titles and examples may change."""

    def describe(document: dict[str, Any]) -> None:
        get(document)["description"] = "Your jobs."
        document["components"]["securitySchemes"]["ApiKey"]["description"] = "another"
        job(document)["id"] |= {"title": "Id", "examples": ["x"]}

    assert changes(BASE, edited(describe)) == []
