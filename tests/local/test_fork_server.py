"""A fork server: processes that start with its imports, and end as any child of ours does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local import Child, ForkServer, PidFile
from tests.support.machine import scaled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks after imports")

ECHO = """
import json, os, signal, sys
leads = os.getsid(0) == os.getpid()
print(json.dumps([sys.argv[1:], os.environ.get("NAME"), leads, "decimal" in sys.modules]))
if sys.argv[1] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    sys.stdout.flush()
    signal.pause()
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    (tmp_path / "echoing.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ForkServer(["decimal"], log=tmp_path / "server" / "log") as server:
        yield server


def child_of(server: ForkServer, directory: Path, *arguments: str, grace_seconds: float = 10.0) -> Child:
    return Child(
        [sys.executable, "-m", "echoing", *arguments],
        pid_file=PidFile(directory / "child" / "pid"),
        log=directory / "child" / "log",
        environment={**os.environ, "NAME": "storefront"},
        fork_server=server,
        grace_seconds=grace_seconds,
    )


def said(child: Child) -> list[object]:
    """The line that the process wrote, once it has."""
    give_up_at = time.monotonic() + scaled(10)
    while time.monotonic() < give_up_at:
        assert child.log is not None
        if text := child.log.read_text():
            found: list[object] = json.loads(text.splitlines()[0])
            return found
        time.sleep(0.02)
    raise AssertionError("it wrote nothing")


class TestAProcess:
    def test_has_the_imports_its_own_arguments_environment_and_session(
        self, server: ForkServer, tmp_path: Path
    ) -> None:
        child = child_of(server, tmp_path, "3", "x")
        child.start()
        assert child.wait(scaled(20)) == 3
        assert said(child) == [["3", "x"], "storefront", True, True]
        child.stop()

    def test_is_stopped_by_its_signal(self, server: ForkServer, tmp_path: Path) -> None:
        with child_of(server, tmp_path, "wait") as child:
            said(child)
            assert child.exit_code is None
            child.stop()
            assert child.exit_code == 7

    def test_that_is_killed_has_its_signal_as_exit_code(self, server: ForkServer, tmp_path: Path) -> None:
        with child_of(server, tmp_path, "wait") as child:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait(scaled(10)) == -signal.SIGKILL

    def test_is_named_for_what_it_runs(self, server: ForkServer, tmp_path: Path) -> None:
        with child_of(server, tmp_path, "wait") as child:
            said(child)
            assert psutil.Process(child.pid).name() == "echoing wait"

    def test_may_be_started_again(self, server: ForkServer, tmp_path: Path) -> None:
        child = child_of(server, tmp_path, "0")
        for _ in range(2):
            child.start()
            assert child.wait(scaled(20)) == 0
        child.stop()


class TestAServerThatDied:
    def kill(self, server: ForkServer) -> None:
        assert server._process is not None
        server._process.kill()
        server._process.wait()

    def test_leaves_its_processes_running_and_their_ends_are_seen(
        self, server: ForkServer, tmp_path: Path
    ) -> None:
        with child_of(server, tmp_path, "wait") as child:
            said(child)
            self.kill(server)
            assert child.exit_code is None
            child.stop()
            assert child.exit_code is not None

    def test_is_done_without(self, server: ForkServer, tmp_path: Path) -> None:
        """The process is started anew, and imports for itself."""
        self.kill(server)
        child = child_of(server, tmp_path, "4")
        child.start()
        assert child.wait(scaled(20)) == 4
        assert said(child)[-1] is False
        child.stop()


class TestTheServer:
    def test_refuses_imports_that_start_threads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "threading_at_once.py").write_text(
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with ForkServer(["threading_at_once"], log=tmp_path / "log") as server:
            assert server.fork("echoing", [], environment={}, log=None) is None
        assert "started threads" in (tmp_path / "log").read_text()

    def test_ends_with_its_owner(self, tmp_path: Path) -> None:
        owner = (
            "import sys, time; from pathlib import Path; from local import ForkServer\n"
            "server = ForkServer([], log=Path(sys.argv[1])); server.start()\n"
            "print(server._process.pid, flush=True); time.sleep(100)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", owner, str(tmp_path / "log")], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            server = psutil.Process(int(process.stdout.readline()))
            process.kill()
            assert server.wait(scaled(10)) is None
