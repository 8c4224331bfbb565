"""`python -m bench`: benches in processes of their own, of which one that fails is named."""

import subprocess
import sys
from pathlib import Path

import pytest

import bench.__main__ as command
from bench import readme
from bench.registry import Bench
from bench.run import run

BENCH = "from bench.table import Figure, figures, put, say\n"
PAGE = "".join(f"<!-- table: {name} -->\nold\n<!-- end -->\n" for name in ("good", "late", "bad", "mute"))
PRINTING = f"{BENCH}say('busy')\nput(figures([Figure('speed', '3', '2', {{}})]))\n"


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four benches: one reaches its goal, one misses it, one fails half way, one prints nothing."""
    sources = {
        "good": PRINTING.format(True),
        "late": PRINTING.format(False),
        "bad": f"{PRINTING.format(True)}raise SystemExit(3)\n",
        "mute": "",
    }
    found = []
    for name, source in sources.items():
        (tmp_path / f"bench_{name}.py").write_text(source)
        found.append(Bench(name, "a test", f"bench_{name}", 1))
    (tmp_path / "README.md").write_text(PAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(readme, "PAGES", tmp_path)
    monkeypatch.setattr(command, "BENCHES", tuple(found))
    return tmp_path / "README.md"


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Exit code of the command with these words."""
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return ended.value.code


class TestTheCommand:
    def test_names_what_fails_and_runs_the_others(
        self, benches: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The exit code is 1; the tables of those that fail stay as they were."""
        assert called(monkeypatch, "bad", "mute", "good") == 1
        said = capfd.readouterr()
        assert "bad failed: `python -m bench_bad` ended with 3" in said.err
        assert "mute failed: `python -m bench_mute` printed nothing" in said.err
        assert "1 of 3 benches measured" in said.err
        assert "busy" in said.err
        assert "busy" not in said.out
        text = benches.read_text()
        assert "<!-- table: bad -->\nold\n<!-- end -->" in text
        assert "<!-- table: mute -->\nold\n<!-- end -->" in text
        assert "| speed | 3 | 2 | reached |\n<!-- end -->" in text

    def test_says_which_goal_is_missed(
        self, benches: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """It is measured all the same, and the exit code is 0."""
        assert called(monkeypatch, "late", "good") == 0
        said = capfd.readouterr().err
        assert "late misses 1 of its goals" in said
        assert "good misses" not in said
        assert "| speed | 3 | 2 | **missed** |" in benches.read_text()

    def test_stamps_what_it_writes(self, benches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Command, cores, load average and Python's version."""
        called(monkeypatch, "good")
        stamp = benches.read_text().split("<!-- table: good -->\n")[1].split("\n")[0]
        for part in ("`python -m bench_good`", "cores", "load average", f"Python {sys.version.split()[0]}"):
            assert part in stamp

    def test_writes_nothing_with_small_sizes(self, benches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """They tell only whether a bench runs."""
        assert called(monkeypatch, "--quick", "good") == 0
        assert benches.read_text() == PAGE

    def test_refuses_a_name_that_it_does_not_know(
        self, benches: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """And tells the names; nothing runs."""
        assert called(monkeypatch, "good", "godo") == 2
        assert "no bench is called godo; there are good, late, bad, mute" in capfd.readouterr().err
        assert benches.read_text() == PAGE


def test_lines_are_shown_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader sees a row before the next one is measured."""
    go_on = tmp_path / "go-on"
    (tmp_path / "bench_slow.py").write_text(
        f"import pathlib, time\n{BENCH}put('| a |')\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\nput('| b |')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shown: list[str] = []

    def show(line: str) -> None:
        shown.append(line)
        go_on.touch()

    outcome = run(Bench("slow", "a test", "bench_slow", 1), (), show)
    assert (outcome.fault, outcome.lines, shown) == (None, ("| a |", "| b |"), ["| a |", "| b |"])


def test_the_list_and_the_help_teach() -> None:
    """Both end with 0 and start nothing."""
    for word in ("--list", "--help"):
        ran = subprocess.run(
            [sys.executable, "-m", "bench", word], capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
        assert "interactive" in ran.stdout
        assert "min" in ran.stdout
