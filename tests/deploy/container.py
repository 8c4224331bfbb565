"""A service of docker-compose.yml as a process of this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.deploy import dockerfile
from tests.deploy.compose import ROOT, environment_of, seconds
from tests.support.machine import scaled

# What stands for the image's own interpreter and script. Without `site`, which would find this repository.
PROGRAMS = {"cutout": [sys.executable, "-S", "-m", "cli"], "python": [sys.executable, "-S"]}
PACKAGES = sysconfig.get_path("purelib")

LOOK_EVERY_S = 0.5


class Container:
    """Runs the declared command in the declared environment and nothing else of ours.

    `addresses` are replaced in commands, health checks and values: names that only Docker resolves, and
    ports that may be taken here. The directory stands for the container's working directory, `tree` for the
    image's /app.
    """

    def __init__(
        self,
        service: Mapping[str, Any],
        variables: Mapping[str, str],
        addresses: Mapping[str, str],
        directory: Path,
        *,
        tree: Path = ROOT,
        programs: Mapping[str, Sequence[str | Path]] = PROGRAMS,
    ) -> None:
        self._service = service
        self._addresses = addresses
        self._programs = programs
        self._directory = directory
        self._log = directory.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._complaint = ""
        directory.mkdir()
        self.environment = {
            **dockerfile.environment(),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": f"{tree}:{PACKAGES}",
            "HOME": "/nonexistent",
            **{name: self._here(value) for name, value in environment_of(service, variables).items()},
        }

    @property
    def log(self) -> str:
        """Output of the process."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def left_behind(self) -> list[Path]:
        """Files that the process wrote into its working directory, which is read-only in the container."""
        return list(self._directory.iterdir())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run once and to the end, as `docker compose run`: the declared command, or other arguments."""
        command = self._command(arguments or self._service["command"])
        return self._execute(command, timeout=30)

    def start(self) -> None:
        """Start the declared command."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self._service["command"]),
                env=self.environment,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check_health(self) -> bool:
        """Run the declared health check once."""
        check = self._service["healthcheck"]
        kind, *words = check["test"]
        assert kind == "CMD"
        done = self._execute(self._with_program(map(self._here, words)), timeout=seconds(check["timeout"]))
        self._complaint = done.stderr
        return done.returncode == 0

    def wait_until_healthy(self, within_s: float = 30.0) -> None:
        """Run the health check until it passes; fails if the process ends or time is up."""
        assert self._process is not None
        deadline = time.monotonic() + scaled(within_s)
        while not self.check_health():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, f"not healthy: {self._complaint}{self.log}"
            time.sleep(LOOK_EVERY_S)

    def use(self) -> tuple[int, int]:
        """Bytes of memory and number of threads of the process and its children."""
        assert self._process is not None
        top = psutil.Process(self._process.pid)
        family = [top, *top.children(recursive=True)]
        return sum(one.memory_info().rss for one in family), sum(one.num_threads() for one in family)

    def stop(self, within_s: float = 10.0) -> int:
        """Send the signal that Docker sends; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(scaled(within_s))

    def kill(self) -> None:
        """End what is left of it."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(scaled(10))

    def _command(self, words: Sequence[str]) -> list[str | Path]:
        entrypoint = self._service.get(
            "entrypoint", dockerfile.entrypoint() if "build" in self._service else []
        )
        return self._with_program(map(self._here, [*entrypoint, *words]))

    def _with_program(self, words: "map[str]") -> list[str | Path]:
        program, *arguments = words
        return [*self._programs[program], *arguments]

    def _execute(self, command: Sequence[str | Path], *, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def _here(self, text: str) -> str:
        # In one pass: what was put in is not looked at again.
        there = "|".join(map(re.escape, self._addresses))
        return re.sub(there, lambda found: self._addresses[found[0]], text)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
