"""Docstrings begin with a noun or a verb that names the thing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PACKAGES = (
    "api",
    "cli",
    "console",
    "cutout",
    "cutout_client",
    "local",
    "migrations",
    "sandbox",
    "tests",
    "worker",
)
# A sentence that begins so is a relative clause without a subject, or needs another one to be understood.
RIDDLES = re.compile(r"(?:What|Who|Whose|How|Which|From|The same)\b")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_begins_as_a_riddle(package: str) -> None:
    """No module, class or function has one that begins with What, Who, Whose, How, Which, From, The same."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no code: name the packages that there are"
    riddles = [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]}"
        for path in files
        for line, text in docstrings(path.read_text())
        if RIDDLES.match(text)
    ]
    assert riddles == []


@pytest.mark.parametrize(
    ("text", "is_riddle"),
    [
        ("What many ask for.", True),
        ("Who may call.", True),
        ("Whose key it is.", True),
        ("How long a job rests.", True),
        ("Which rows.", True),
        ("From bytes to text.", True),
        ("The same of a row.", True),
        ("Cache of what many ask for.", False),
        ("The sameness of two pictures.", False),
        ("Fromage.", False),
        ("Deletes what is old.", False),
    ],
)
def test_the_rule_tells_riddles_from_sentences(text: str, is_riddle: bool) -> None:  # noqa: FBT001
    """The beginning alone counts, as whole words, whether of a module, a class or a function."""
    for code in (f'"""{text}"""', f'class C:\n    """{text}"""', f'def f():\n    """{text}"""'):
        ((_, found),) = docstrings(code)
        assert bool(RIDDLES.match(found)) is is_riddle


def docstrings(code: str) -> Iterator[tuple[int, str]]:
    """Each docstring of a module's code with the line that it begins in."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def test_tests_are_read_too() -> None:
    """A file's own docstrings are among those that are looked at."""
    assert next(docstrings(Path(__file__).read_text()))[1].startswith("Docstrings begin")
