"""Texts that reach a producer are of its own world: no command, setting or file of the operator's."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.problem_types import PROBLEM_TYPES
from cutout.status.producer_texts import INTERNAL, OPERATORS_TASK, STOPPED
from tests.docs.openapi_file import openapi_file
from tests.docs.pages import ROOT

# Errors of the core whose texts a request is answered with, as they are.
PASSED_ON = {
    "AboveCeilingError",
    "InvalidJobError",
    "InvalidScheduleError",
    "InvalidWebhookError",
    "OtherRecipeError",
    "PausedByOperatorError",
    "QuotaReachedError",
    "RecipeError",
}
# They are read by the operator: on the console, in the log, at the metrics' address.
OF_THE_OPERATOR = {"__main__.py", "app.py", "readiness.py"}


@pytest.mark.parametrize("kind", PROBLEM_TYPES)
def test_every_problem_tells_the_producer_what_it_can_do(kind: str) -> None:
    """Its title and remedy."""
    known = PROBLEM_TYPES[kind]
    assert not INTERNAL.search(f"{known.title} {known.remedy}")


def test_the_document_is_for_producers() -> None:
    """Descriptions and examples of everything in it."""
    texts = [text for text in _texts_of(json.loads(openapi_file())) if INTERNAL.search(text)]
    assert texts == []


def test_reasons_that_the_operator_removes_name_no_tool() -> None:
    """Neither the reason nor the remedy."""
    assert not [text for text in (*STOPPED.values(), OPERATORS_TASK) if INTERNAL.search(text)]


@pytest.mark.parametrize("path", sorted((ROOT / "api").rglob("*.py")), ids=lambda path: path.name)
def test_no_text_of_the_api_names_the_operators_tools(path: Path) -> None:
    """Any text but those for the operator: each may be in an answer."""
    if path.name not in OF_THE_OPERATOR:
        assert [text for text in _constants(ast.parse(path.read_text())) if INTERNAL.search(text)] == []


def test_no_error_that_is_passed_on_names_the_operators_tools() -> None:
    """Texts of the core's errors about requests."""
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in sorted((ROOT / "cutout").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PASSED_ON
        for text in _constants(node)
        if INTERNAL.search(text)
    ]
    assert found == []


def _texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts_of(member)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_of(item)


def _constants(tree: ast.AST) -> Iterator[str]:
    """Texts in the code, but not docstrings: those of routes are in the document."""
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value
