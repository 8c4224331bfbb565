"""The `cutout` command as its user runs it: a process with its own environment, directory and streams."""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import make_url

from cli.audit_log import LOGGER
from cli.main import main
from tests.support.forked import Forked, live_in, speak_into
from tests.support.machine import scaled

ENDS_WITHIN_S = 60.0
AUDIT = f" INFO {LOGGER} cutout "


@dataclass(frozen=True, slots=True)
class Ran:
    """The exit code and the output of a command."""

    code: int
    stdout: str
    stderr: str


class Cutout:
    """Calling it runs `cutout ARGUMENTS`. No run may end in a traceback or print a secret of its settings."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = {**os.environ, **environment}
        self.directory = directory

    def __call__(
        self,
        *arguments: str | Path,
        settings: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
        within_s: float = ENDS_WITHIN_S,
    ) -> Ran:
        """Run it to its end with these settings changed; an empty one is as good as unset.

        With `most_bytes` the system gives it no more memory.
        """
        environment = self.environment | dict(settings or {})
        said = self.directory / ".stdout", self.directory / ".stderr"
        words = [str(argument) for argument in arguments]
        process = Forked(_run, words, environment, self.directory, said, most_bytes)
        try:
            process.wait(scaled(within_s))
        except subprocess.TimeoutExpired:
            process.kill()
        code = process.wait()
        return self.checked(Ran(code, *(path.read_text() for path in said)), environment)

    def begin(self, *arguments: str | Path) -> Forked:
        """The command as a process that still runs and may be killed."""
        said = self.directory / ".begun_stdout", self.directory / ".begun_stderr"
        return Forked(_run, [str(argument) for argument in arguments], self.environment, self.directory, said)

    def start(self, *arguments: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """The command in an interpreter of its own, still running."""
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *map(str, arguments)],
            env=self.environment,
            cwd=self.directory,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> Ran:
        """The exit code of a started command, and its output since it was last read."""
        stdout, stderr = process.communicate(timeout=ENDS_WITHIN_S)
        return self.checked(Ran(process.returncode, stdout or "", stderr), self.environment)

    def checked(self, ran: Ran, environment: Mapping[str, str]) -> Ran:
        """Return the answer after a check for secrets in it."""
        assert "Traceback" not in ran.stderr, ran.stderr
        for secret in secrets_of(environment):
            assert secret not in ran.stdout + ran.stderr
        # The line of the audit, on a machine without a system log: tests/operations/test_logs.py has it.
        said = [line for line in ran.stderr.splitlines(keepends=True) if AUDIT not in line]
        return replace(ran, stderr="".join(said))


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Secrets of the settings."""
    names = ("ENDPOINT_API_KEYS", "S3_SECRET_KEY", "API_KEY", "WEBHOOK_SECRET")
    found = {environment.get(f"CUTOUT_{name}") for name in names}
    if url := environment.get("CUTOUT_DATABASE_URL"):
        found.add(make_url(url).password)
    if url := environment.get("CUTOUT_REDIS_URL"):
        found.add(urlsplit(url).password)
    return {secret for secret in found if secret}


def _run(
    arguments: list[str],
    environment: dict[str, str],
    directory: Path,
    said: tuple[Path, Path],
    most_bytes: int | None = None,
) -> None:
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    speak_into(*said, flags=os.O_TRUNC)
    live_in(environment)
    os.chdir(directory)
    sys.argv = ["cutout", *arguments]
    main()
