"""The next start's handling of a pid file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import DirectoryInUseError, PidFile
from local.identity import identity


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", "import time; time.sleep(100)"]
    with subprocess.Popen(command, start_new_session=True) as process:
        yield process
        process.kill()


def left_behind(path: Path, pid: int, known_as: str | None) -> PidFile:
    content = {"owner": 1, "pid": pid, "identity": known_as, "stop_signal": 15, "grace_seconds": 5}
    path.write_text(json.dumps(content))
    return PidFile(path)


def test_what_was_left_behind_is_ended(tmp_path: Path, stranger: "subprocess.Popen[bytes]") -> None:
    """A process that the file names, and that is still the same, gets the stop signal it was meant to get."""
    left_behind(tmp_path / "pid", stranger.pid, identity(stranger.pid)).acquire()
    assert stranger.wait(30) == -signal.SIGTERM


def test_a_recycled_pid_is_spared(tmp_path: Path, stranger: "subprocess.Popen[bytes]") -> None:
    """A process that has merely been given the number of ours is left alone."""
    ours = f"{identity(stranger.pid)}0"
    left_behind(tmp_path / "pid", stranger.pid, ours).acquire()
    assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "17"])
def test_a_torn_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    """A file torn by a crash says nothing, and is written anew."""
    (tmp_path / "pid").write_text(content)
    PidFile(tmp_path / "pid").acquire()
    assert json.loads((tmp_path / "pid").read_text()) == {"owner": os.getpid()}


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    """While its owner holds it nobody else can, and the error names owner and remedy."""
    held = PidFile(tmp_path / "pid")
    held.acquire()
    with pytest.raises(
        DirectoryInUseError, match=rf"{tmp_path} is in use by process {os.getpid()}\. Stop it"
    ):
        PidFile(tmp_path / "pid").acquire()
    held.release()
    PidFile(tmp_path / "pid").acquire()


def test_a_released_lock_is_free_although_a_child_inherited_its_file(tmp_path: Path) -> None:
    """A process that was forked while the lock was held, and has not called exec yet, does not keep it."""
    held = PidFile(tmp_path / "pid")
    held.acquire()
    child = os.fork()
    if not child:
        signal.pause()
    try:
        held.release()
        PidFile(tmp_path / "pid").acquire()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_zombie_does_not_live() -> None:
    """A process has no identity once it has ended, even while its parent has not asked how."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity(process.pid) is None


def test_identity_lasts(stranger: "subprocess.Popen[bytes]") -> None:
    """The identity of a process stays the same for as long as it lives, and goes with it."""
    before = identity(stranger.pid)
    assert before
    assert identity(stranger.pid) == before
    stranger.kill()
    stranger.wait()
    assert identity(stranger.pid) is None
