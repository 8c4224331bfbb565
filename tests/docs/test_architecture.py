"""ARCHITECTURE.md says where things are: what it names is there, and what is there is named."""

import re

import pytest

from tests.docs.pages import ROOT, spans

PAGE = ROOT / "ARCHITECTURE.md"
PATH = re.compile(r"[\w-]+(?:/[\w.-]+)*/|(?:[\w-]+/)+[\w.-]+|\w+\.(?:py|toml|md|tsv|yml)")
# Files of the leader that are no duty: its loop, its process, and what duties have in common.
NO_DUTIES = {"__init__", "__main__", "duty", "live_workers", "loop", "messages", "metrics"}
STEPS_OF_A_JOB = 12


def named_paths() -> list[str]:
    """The paths that the page names in code."""
    return [span for span in spans(PAGE.read_text()) if PATH.fullmatch(span)]


def test_every_path_that_is_named_exists() -> None:
    """A file or folder of the page is one of the repository, by its whole path."""
    paths = named_paths()
    assert len(paths) > 80
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("package", ["cutout", "worker"])
def test_every_package_is_in_the_code_map(package: str) -> None:
    """No folder of code is left out, nor a name of one that is gone."""
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert folders
    assert folders == {path.split("/")[1] for path in named_paths() if re.fullmatch(rf"{package}/\w+/", path)}


def test_every_duty_of_the_leader_is_named() -> None:
    """The row of worker/dispatcher/ leaves no duty's file out, and names none that is not there."""
    (row,) = (line for line in PAGE.read_text().splitlines() if line.startswith("| `worker/dispatcher/`"))
    duties = {path.stem for path in (ROOT / "worker" / "dispatcher").glob("*.py")} - NO_DUTIES
    assert duties == {span for span in spans(row) if span.isidentifier()}


def test_a_jobs_life_has_twelve_lines_with_a_file_each() -> None:
    """Each transition names the file that makes it."""
    life = PAGE.read_text().partition("## A job's life")[2].partition("\n## ")[0]
    rows = [line for line in life.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) == STEPS_OF_A_JOB
    assert all(re.search(r"\| (`[\w/]+\.py`(, )?)+ \|$", row) for row in rows)


def test_the_layers_are_those_of_the_contract() -> None:
    """The stack that is drawn is the contract's in pyproject.toml, from top to bottom."""
    contract = (ROOT / "pyproject.toml").read_text().partition('name = "the core is stacked"')[2]
    listed = contract.partition("layers = [")[2].partition("]")[0]
    layers = re.findall(r'^ +"([\w| ]+)",$', listed, re.MULTILINE)
    drawn = PAGE.read_text().partition("## Code map")[2].partition("```\n")[2].partition("```")[0]
    assert [layer.replace("|", "·") for layer in layers] == [line.strip() for line in drawn.splitlines()[2:]]
