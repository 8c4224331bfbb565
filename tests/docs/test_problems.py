"""Every problem that the API gives is in its table, and the table is on the page."""

import ast
from http import HTTPStatus

from pydantic import TypeAdapter

from api import schemas
from api.openapi_examples import EXAMPLES
from api.problem_types import PROBLEM_TYPES
from tests.docs import problems_table
from tests.docs.pages import ROOT

# Status and kind are their first two arguments.
MAKERS = {"ProblemError", "problem"}
# They answer with what another place names.
PASS_ON = {"exception_handlers.py"}
# What the framework refuses goes through a table of kinds.
THROUGH_KINDS = {"bad-request", "not-found", "method-not-allowed", "body-too-large"}


def test_the_page_shows_every_type_with_its_remedy() -> None:
    """docs/reference/problems.md has the types, statuses and remedies as api/problem_types.py does."""
    page = problems_table.PAGE.read_text()
    assert page == problems_table.renewed(page), "run .venv/bin/python -m tests.docs.problems_table"


def test_the_code_gives_no_other_type() -> None:
    """Kinds in the code are those of the table, each with its own status, and none of the table is unused."""
    given = _given()
    assert {kind for _, kind in given} | THROUGH_KINDS == set(PROBLEM_TYPES)
    for status, kind in given:
        assert HTTPStatus[status] is PROBLEM_TYPES[kind].status, kind


def test_every_type_says_what_to_do() -> None:
    """In a sentence."""
    for kind, known in PROBLEM_TYPES.items():
        assert known.remedy.endswith("."), kind
        assert known.title, kind


def test_the_examples_are_of_their_schemas() -> None:
    """An example of OpenAPI is valid for the schema that it is an example of."""
    for name, example in EXAMPLES.items():
        read = TypeAdapter(getattr(schemas, name)).validate_python(example)
        assert read.model_dump(mode="json", exclude_unset=True).keys() == example.keys()


def _given() -> set[tuple[str, str]]:
    found = set()
    for path in (ROOT / "api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id not in MAKERS or len(node.args) < 2:
                continue
            status, kind = node.args[:2]
            if isinstance(status, ast.Attribute) and isinstance(kind, ast.Constant):
                found.add((status.attr, str(kind.value)))
            else:
                assert path.name in PASS_ON, f"{path}: {ast.unparse(node)} hides its type"
    return found
