"""One child process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local import Child, PidFile
from local.lifeline import Lifeline
from tests.support.machine import scaled

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(100)"]
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pid = os.fork()
if pid:
    print(pid, flush=True)
time.sleep(100)
"""
WITHOUT_LOG = """
import sys
from pathlib import Path
from local import Child, PidFile
with Child([sys.executable, "-c", "print(42)"], pid_file=PidFile(Path(sys.argv[1]))) as child:
    child.wait(60)
"""


def child(path: Path, command: list[str], *, grace_seconds: float = 10) -> Child:
    pid_file = PidFile(path / "pid")
    return Child(command, pid_file=pid_file, log=path / "log", grace_seconds=grace_seconds)


def first_line(log: Path) -> str:
    give_up_at = time.monotonic() + scaled(10)
    while not log.read_text().endswith("\n"):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    return log.read_text().strip()


def test_stop_is_gentle(tmp_path: Path) -> None:
    """A stop sends SIGTERM, and returns as soon as the process has ended."""
    with child(tmp_path, SLEEPER) as process:
        assert first_line(tmp_path / "log") == "up"
        started_at = time.monotonic()
    assert time.monotonic() - started_at < scaled(1)
    assert process.exit_code == -signal.SIGTERM
    assert process.pid is None


def test_stop_ends_in_sigkill(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after its grace, with the children in its group."""
    with child(tmp_path, [sys.executable, "-c", STUBBORN], grace_seconds=0.3) as process:
        grandchild = psutil.Process(int(first_line(tmp_path / "log")))
        assert grandchild.is_running()
    assert process.exit_code == -signal.SIGKILL
    psutil.wait_procs([grandchild], timeout=30)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_stop_leaves_no_grandchild(tmp_path: Path) -> None:
    """The children of a process that heeds SIGTERM are ended too, though they ignore it."""
    heeding = STUBBORN.replace("print(pid", "signal.signal(signal.SIGTERM, signal.SIG_DFL); print(pid")
    with child(tmp_path, [sys.executable, "-c", heeding]) as process:
        grandchild = psutil.Process(int(first_line(tmp_path / "log")))
    assert process.exit_code == -signal.SIGTERM
    psutil.wait_procs([grandchild], timeout=30)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_it_ends_by_itself(tmp_path: Path) -> None:
    """Waiting gives the exit code; a process that goes on past the time is not touched."""
    with child(tmp_path, [sys.executable, "-c", "raise SystemExit(7)"]) as process:
        assert process.wait(scaled(10)) == 7
    with child(tmp_path, SLEEPER) as process:
        with pytest.raises(TimeoutError, match=r"0\.01 s"):
            process.wait(0.01)
        assert process.pid


def test_it_starts_again(tmp_path: Path) -> None:
    """After an end of any kind it can be started again; twice at once it cannot."""
    process = child(tmp_path, SLEEPER)
    process.start()
    with pytest.raises(RuntimeError, match="already runs"):
        process.start()
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(scaled(10)) == -signal.SIGKILL
    process.start()
    process.kill()
    assert process.exit_code == -signal.SIGKILL


def test_it_leads_a_session(tmp_path: Path) -> None:
    """Ctrl-C in our terminal does not reach it: it is in a session of its own."""
    with child(tmp_path, SLEEPER) as process:
        assert process.pid
        assert os.getsid(process.pid) == process.pid


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """A command that cannot be run raises, and the pid file is free for the next try."""
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="/no/such"):
            child(tmp_path, ["/no/such"]).start()


def test_output_can_go_where_ours_goes(tmp_path: Path) -> None:
    """Without a log the child writes to our own output."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOG, tmp_path / "pid"], capture_output=True, check=True
    )
    assert ran.stdout == b"42\n"


class TestGuard:
    @pytest.fixture
    def lifeline(self, monkeypatch: pytest.MonkeyPatch) -> Lifeline:
        """One of this test's own: others may have children too."""
        lifeline = Lifeline()
        monkeypatch.setattr("local.child.LIFELINE", lifeline)
        return lifeline

    def test_it_ends_with_the_last_child(self, tmp_path: Path, lifeline: Lifeline) -> None:
        """It runs while there is a child to guard, and no longer."""
        with child(tmp_path / "a", SLEEPER), child(tmp_path / "b", SLEEPER):
            assert lifeline._guard
            guard = psutil.Process(lifeline._guard._process.pid)
            assert guard.is_running()
        assert not guard.is_running()

    def test_it_is_replaced(self, tmp_path: Path, lifeline: Lifeline) -> None:
        """A guard that was killed is replaced at the next start, and the new one knows all children."""
        with child(tmp_path / "a", SLEEPER) as first:
            assert lifeline._guard
            lifeline._guard._process.kill()
            lifeline._guard._process.wait()
            with child(tmp_path / "b", SLEEPER) as second:
                assert lifeline._wards.keys() == {first.pid, second.pid}
                assert lifeline._guard._process.poll() is None
