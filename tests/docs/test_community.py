"""Licence, security page and the templates of issues and pull requests."""

import re
from pathlib import Path

import pytest
import yaml

from cli.main import COMMANDS
from tests.docs.pages import ROOT, spans

GITHUB = ROOT / ".github"
ISSUES = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.md"))
ALL = [
    ROOT / "SECURITY.md",
    GITHUB / "PULL_REQUEST_TEMPLATE.md",
    ROOT / "cutout_client" / "README.md",
    *ISSUES,
]

pages = pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_licence_is_mit() -> None:
    """LICENSE is the MIT licence of the cutout authors."""
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) 2026 the cutout authors\n")


@pages
def test_commands_and_targets_that_are_named_exist(page: Path) -> None:
    """Every `cutout X` and `make X` on the page is a command or a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for span in spans(page.read_text()):
        program, _, word = span.partition(" ")
        if program == "cutout" and word != "--version":
            assert word.split()[0] in COMMANDS, span
        if program == "make":
            assert word in targets, span


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    """Every page of the repository that the page names or links to exists, and no address is made up."""
    text = page.read_text()
    named = re.findall(r"\]\(([^)]+)\)|`([\w./-]+(?:\.md|/))`|\b([A-Z]+\.md)\b", text)
    for path in (word for found in named for word in found if word):
        assert (page.parent / path).exists() or (ROOT / path).exists(), path
    assert not re.search(r"\w@\w|mailto:", text)


@pytest.mark.parametrize("page", ISSUES, ids=lambda page: page.name)
def test_a_template_of_issues_has_a_name_and_a_purpose(page: Path) -> None:
    """Its front matter has what the hosting site shows in the list of templates."""
    head = yaml.safe_load(page.read_text().split("---\n")[1])
    assert head["name"]
    assert head["about"]


def test_a_bug_is_reported_with_what_is_needed_to_find_it() -> None:
    """The template asks for the version, the doctor's output, and a job with its explanation."""
    text = (GITHUB / "ISSUE_TEMPLATE" / "bug_report.md").read_text()
    assert all(f"`cutout {word}" in text for word in ("--version", "doctor", "explain"))
