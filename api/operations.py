"""Operations as the OpenAPI document has them, for the code that holds requests to it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from api.problems import ProblemError

REFERENCE = "#/components/schemas/"
METHODS = ("get", "head", "put", "post", "delete", "patch", "options")
# They are not in the document.
PAGES = {"/docs": ("GET", "HEAD", "OPTIONS"), "/openapi.json": ("GET", "HEAD", "OPTIONS")}
LONGEST_NAME = 100


class Parameters:
    """The parameters of a query, or the fields of a form, by name: whether each may be repeated."""

    def __init__(self, of: str, repeatable: Mapping[str, bool]) -> None:
        self._of, self._repeatable = of, repeatable

    @property
    def lists(self) -> list[str]:
        """The names of those that may be repeated."""
        return [name for name, may_be_repeated in self._repeatable.items() if may_be_repeated]

    def require_known(self, names: Iterable[str]) -> None:
        """Raise a problem 422 for a name that is unknown, or comes twice and is no list."""
        seen: set[str] = set()
        for name in names:
            if name not in self._repeatable:
                known = ", ".join(sorted(self._repeatable)) or "none"
                raise _invalid(name, f"is unknown; {self._of} takes {known}")
            if name in seen and not self._repeatable[name]:
                raise _invalid(name, "came more than once; send it once")
            seen.add(name)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: its query, the fields of its form, and the media types of its good answers."""

    query: Parameters
    form: Parameters
    media_types: tuple[str, ...]


class Operations:
    """The operations of a document by path template and method, and the methods of an address."""

    def __init__(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        self._operations = {
            (path, method.upper()): _operation(f"{method.upper()} {path}", made, schemas)
            for path, operations in document["paths"].items()
            for method, made in operations.items()
            if method in METHODS
        }
        self._methods = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), tuple(_methods(operations)))
            for path, operations in document["paths"].items()
        ]

    def at(self, path: str, method: str) -> Operation:
        """The operation of a route, by its path template."""
        return self._operations[path, method]

    def methods_at(self, address: str) -> list[str]:
        """The methods of an address; none for one that is of no route."""
        if address in PAGES:
            return list(PAGES[address])
        return sorted(
            {method for form, methods in self._methods if form.fullmatch(address) for method in methods}
        )

    @property
    def all_methods(self) -> list[str]:
        """The methods that any address knows."""
        return sorted({method for _, methods in self._methods for method in methods})


def operations_of(app: FastAPI) -> Operations:
    """The app's operations, read once from its document."""
    if not hasattr(app.state, "operations"):
        app.state.operations = Operations(app.openapi())
    found: Operations = app.state.operations
    return found


def _methods(operations: Mapping[str, Any]) -> Iterator[str]:
    return (method.upper() for method in METHODS if method in operations)


def _operation(name: str, made: dict[str, Any], schemas: dict[str, Any]) -> Operation:
    query = {
        parameter["name"]: _is_list(parameter["schema"])
        for parameter in made.get("parameters", [])
        if parameter["in"] == "query"
    }
    return Operation(
        Parameters(name, query),
        Parameters(f"the form of {name}", _fields(made, schemas)),
        tuple(
            kind.partition(";")[0]
            for status, answer in made["responses"].items()
            if status.startswith("2")
            for kind in answer.get("content", {})
        ),
    )


def _fields(made: dict[str, Any], schemas: dict[str, Any]) -> dict[str, bool]:
    form = made.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    if "$ref" in form:
        form = schemas[form["$ref"].removeprefix(REFERENCE)]
    return {name: _is_list(schema) for name, schema in form.get("properties", {}).items()}


def _is_list(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "array" or any(map(_is_list, schema.get("anyOf", [])))


def _invalid(name: str, fault: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        f"{name[:LONGEST_NAME]!r} {fault}",
        field=name[:LONGEST_NAME],
    )
