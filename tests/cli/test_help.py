"""`cutout --help` and that of every command, `cutout --version`, and completion in a shell."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from cli.main import COMMANDS, PANELS, make_app
from cutout import __version__
from tests.cli.command import Cutout
from tests.docs.pages import ROOT

# What would be read as a tag of rich's and left out: `[default: x]`.
A_TAG = re.compile(r"\[[a-z#/@][^[\]]*\]")


@cache
def whole() -> Any:
    """The command with all its commands."""
    return typer.main.get_command(make_app(list(COMMANDS)))


def every_command(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of each command, and of each of its commands."""
    if path:
        yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from every_command(each, *path, name)


def command_of(path: tuple[str, ...]) -> Any:
    """The command of these words."""
    found = whole()
    for name in path:
        found = found.commands[name]
    return found


def help_of(*path: str) -> str:
    """The help as it is printed into a pipe."""
    ran = CliRunner().invoke(make_app(list(COMMANDS)), [*path, "--help"], prog_name="cutout")
    assert ran.exit_code == 0
    return ran.stdout


EVERY = sorted(every_command(whole()))
commands = pytest.mark.parametrize("path", EVERY, ids=" ".join)


class TestEveryHelp:
    @commands
    def test_says_in_a_short_sentence_what_the_command_does(self, path: tuple[str, ...]) -> None:
        """Its first paragraph is one sentence that fits into a line or two of the list of commands."""
        first, *_ = (command_of(path).help or "").split("\n\n")
        assert re.fullmatch(r"[A-Z].{10,75}\.", first)
        assert ". " not in first.replace("e.g. ", "")

    @commands
    def test_says_what_each_argument_and_option_is(self, path: tuple[str, ...]) -> None:
        """No argument or option is without a text of its own that ends as a sentence."""
        for parameter in command_of(path).params:
            text = getattr(parameter, "help", "") or ""
            assert text.endswith("."), parameter.name

    @commands
    def test_loses_no_words_to_markup(self, path: tuple[str, ...]) -> None:
        """No text has brackets that the printer would take for a tag and leave out."""
        texts = [getattr(parameter, "help", "") or "" for parameter in command_of(path).params]
        own = re.sub(r"\[bold\]|\[/\]", "", command_of(path).help or "")
        assert not [text for text in [own, *texts] if A_TAG.search(text)]

    @commands
    def test_has_no_blank_before_a_stop(self, path: tuple[str, ...]) -> None:
        """As printed, no word is missing before a stop or comma."""
        if path != ("sandbox",):
            printed = " ".join(re.sub(r"[│╭╮╰╯─]", " ", help_of(*path)).split())
            assert not re.search(r" [.,:;](?= |$)", printed.replace(": ; or | or", ""))


class TestTheListOfCommands:
    def test_has_panels_in_order(self) -> None:
        """The panels stand in the order work, money, schedules, operate, run."""
        titles = re.findall(r"^╭─ (\w+) ─", help_of(), re.MULTILINE)
        assert titles == ["Options", "Work", "Money", "Schedules", "Operate", "Run"]

    def test_has_every_command_in_one_panel(self) -> None:
        """Each command stands in its panel, in the panel's order, and in no other."""
        panels = re.split(r"^╭─ ", help_of(), flags=re.MULTILINE)[2:]
        shown = [re.findall(r"^│ ([a-z-]+) ", panel, re.MULTILINE) for panel in panels]
        assert shown == [list(members) for members in PANELS.values()]
        assert sorted(name for members in shown for name in members) == sorted(COMMANDS)


class TestVersion:
    def test_is_that_of_the_code(self, tmp_path: Path) -> None:
        """`cutout --version` prints `cutout X.Y.Z`, without any setting."""
        ran = Cutout({"CUTOUT_DATABASE_URL": ""}, tmp_path)("--version")
        assert (ran.code, ran.stdout, ran.stderr) == (0, f"cutout {__version__}\n", "")
        assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


class TestCompletion:
    """In bash; the other shells' are typer's as well."""

    @pytest.fixture
    def bash(self, tmp_path: Path) -> Callable[[str], str]:
        """Runs lines of bash that find `cutout` as an installed script; gives what they print."""
        script = tmp_path / "bin" / "cutout"
        script.parent.mkdir()
        script.write_text(f"#!{sys.executable}\nfrom cli.main import main\nmain()\n")
        script.chmod(0o755)
        path = f"{script.parent}:/usr/bin:/bin"
        environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
        bash = shutil.which("bash")
        assert bash

        def run(lines: str) -> str:
            ran = subprocess.run(
                [bash, "-c", f"{lines}\ntrue"],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (ran.returncode, ran.stderr) == (0, "")
            return ran.stdout

        return run

    def test_script_is_printed(self, bash: Callable[[str], str]) -> None:
        """`cutout --show-completion` prints a script that completes `cutout`."""
        script = bash("cutout --show-completion")
        assert script.rstrip().endswith("complete -o default -F _cutout_completion cutout")

    def test_script_is_installed(self, bash: Callable[[str], str], tmp_path: Path) -> None:
        """`cutout --install-completion` writes the script where bash will find it."""
        bash("cutout --install-completion")
        assert ".bash_completions/cutout.sh" in (tmp_path / ".bashrc").read_text()
        assert "_cutout_completion" in (tmp_path / ".bash_completions" / "cutout.sh").read_text()

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            ("cutout le", ["ledger"]),
            ("cutout re", ["results", "render", "retry", "resume", "renderer"]),
            ("cutout keys ", ["make", "list", "revoke", "quota"]),
            ("cutout results --fo", ["--format"]),
        ],
    )
    def test_offers_what_can_follow(self, bash: Callable[[str], str], typed: str, offered: list[str]) -> None:
        """A shell that has the script is offered commands, their commands and their options."""
        words = typed.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        printed = bash(
            'eval "$(cutout --show-completion)"\n'
            f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
            '_cutout_completion cutout\nprintf "%s\\n" "${COMPREPLY[@]}"'
        )
        assert printed.split() == offered
