"""The pages say what is so."""

import ast
import re
from pathlib import Path

import pytest
import typer.main
from sqlalchemy import text
from sqlalchemy.orm import Session

from cli.main import COMMANDS, make_app
from cutout.endpoint.verdicts import VERDICTS
from cutout.enums import FINAL_STATES, AttemptOutcome, QueueState, State, Step
from tests.docs.pages import PAGES, README, ROOT, anchors, blocks, commands, spans
from tests.docs.settings_table import PAGE, renewed

STATES_PAGE = ROOT / "docs" / "reference" / "job-states.md"
CODES_PAGE = ROOT / "docs" / "reference" / "codes.md"
SQL_PAGE = ROOT / "docs" / "operate" / "doctor-and-logs.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
# Made when something runs, not kept in the repository.
MADE = (
    "docker-compose.override.yml",
    "reports/",
    "demo-output/",
    ".cutout/",
    ".venv/",
    "sources/",
    "cutouts/",
    "manifests/",
    "rejects/",
    "results/",
    "unexpected/",
)

COMMANDS_PAGE = ROOT / "docs" / "reference" / "cli.md"
MOST_LINES_OF_README = 150

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_settings_table_is_what_the_settings_say() -> None:
    """docs/reference/settings.md shows each setting with its name, default and meaning, as the code does."""
    page = PAGE.read_text()
    assert page == renewed(page), "run .venv/bin/python -m tests.docs.settings_table"


def test_the_readme_is_short() -> None:
    """A person decides by README.md alone: it has at most 150 lines, and what is longer is in docs/."""
    assert len(README.read_text().splitlines()) <= MOST_LINES_OF_README


@pages
def test_make_targets_that_are_named_exist(page: Path) -> None:
    """Every `make X` on a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for words in commands(page.read_text(), "make") for word in words if "=" not in word}
    assert named <= targets


class TestTheCommandsNamed:
    """Commands and options are looked up in the program itself."""

    @pages
    def test_exist_with_their_options(self, page: Path) -> None:
        """Every `cutout X --option` on a page is a command of `cutout --help` with that option."""
        known = typer.main.get_command(make_app(list(COMMANDS)))
        for name, *words in commands(page.read_text(), "cutout"):
            if name.startswith("-") or name == "…":
                continue
            command = known.commands[name]  # type: ignore[attr-defined]
            if subcommands := getattr(command, "commands", None):
                assert not words or words[0] in subcommands
                continue
            options = {option for parameter in command.params for option in parameter.opts}
            options |= {option for parameter in command.params for option in parameter.secondary_opts}
            asked = {word for word in words if word.startswith("-") and word not in ("-", "--help")}
            assert name == "sandbox" or asked <= options

    def test_are_all_in_the_reference(self) -> None:
        """docs/reference/cli.md leaves no command out."""
        assert set(COMMANDS) <= {words[0] for words in commands(COMMANDS_PAGE.read_text(), "cutout")}

    def test_stand_under_the_panels_of_the_help(self) -> None:
        """docs/reference/cli.md has the panels of `cutout --help`, each with its commands in their order."""
        known = typer.main.get_command(make_app(list(COMMANDS)))
        panels: dict[str, list[str]] = {}
        for name in known.list_commands(None):  # type: ignore[attr-defined]
            command = known.commands[name]  # type: ignore[attr-defined]
            panels.setdefault(command.rich_help_panel, []).append(name)
        page = COMMANDS_PAGE.read_text().partition("## Exit codes")[0]
        shown = {
            title: re.findall(r"^\| `cutout ([\w-]+)`", section, re.MULTILINE)
            for title, section in re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        }
        assert list(shown.items()) == list(panels.items())


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page to another leads to a file that exists, and to a heading in it if it names one."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), target


@pages
def test_paths_that_are_named_exist(page: Path) -> None:
    """Every path of the repository that a page names in code exists."""
    for span in spans(page.read_text()):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]*)+|[\w.-]+\.(py|md|toml|yml|lock|tsv)", span):
            continue
        if not span.startswith(MADE):
            assert (ROOT / span).exists() or (page.parent / span).exists(), span


class TestTheStatesPage:
    """docs/reference/job-states.md and docs/reference/codes.md leave nothing out."""

    def test_names_every_word_of_a_job(self) -> None:
        """States, steps, queue_states and outcomes of calls all stand there."""
        named = {word for span in spans(STATES_PAGE.read_text()) for word in span.split()}
        assert {*State, *Step, *QueueState, *AttemptOutcome} <= named

    def test_draws_every_state(self) -> None:
        """The picture has every state and every queue state, and no other box."""
        picture, _ = blocks(STATES_PAGE.read_text(), "mermaid")
        boxes = {word for edge in re.findall(r"(\w+|\]) --> (\w+|\[)", picture) for word in edge} - {"[", "]"}
        assert boxes == {*State, *QueueState} - {State.QUEUED}

    def test_says_which_states_are_final(self) -> None:
        """The table calls those states final that cutout.enums does."""
        final = set(re.findall(r"^\| `(\w+)` \| Final", STATES_PAGE.read_text(), re.MULTILINE))
        assert final == set(FINAL_STATES)

    def test_explains_every_code_of_our_own(self) -> None:
        """The codes that worker and jobs give are those of the table, no more and no fewer."""
        table = CODES_PAGE.read_text().partition("## Codes of our own")[2]
        rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == _codes_in_the_code()


def test_statements_for_the_database_run(session: Session) -> None:
    """Every SQL statement of docs/operate/doctor-and-logs.md runs on the schema as it is."""
    (script,) = blocks(SQL_PAGE.read_text(), "sql")
    statements = [statement for statement in script.split(";\n") if statement.strip()]
    assert len(statements) > 1
    for statement in statements:
        session.execute(text(statement))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_has_a_number_a_date_and_a_status(page: Path) -> None:
    """A decision's heading has its file's number, and its date and status stand below."""
    number = int(page.name.partition("-")[0])
    assert re.match(
        rf"# {number}\. .+\n\n\d{{4}}-\d\d-\d\d · (accepted|superseded by .+)\n", page.read_text()
    )


def _codes_in_the_code() -> set[str]:
    codes = set()
    for path in [*(ROOT / "worker").rglob("*.py"), *(ROOT / "cutout").rglob("*.py")]:
        if path.name == "__init__.py":
            # What a package gives away are names in capitals too.
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                codes |= set(re.findall(r"\A[A-Z]+(?:_[A-Z]+)+\Z", node.value))
    return codes - {"SSL_CERT_FILE", "OPENBLAS_NUM_THREADS", "REQUEST_METHOD", "PATH_INFO"} - set(VERDICTS)
