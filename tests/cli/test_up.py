"""`cutout up`, stopped and started again in the same directory, as its user does."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cutout.settings import PREFIX
from tests.cli.command import Cutout
from tests.support.machine import scaled

READY = "Ctrl-C stops everything"
READY_WITHIN_S = 60.0


@contextmanager
def up(directory: Path) -> Iterator[Cutout]:
    """Everything in a directory of its own; gives the command as it runs in another shell."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-m", "cli", "up", "--port", "0", "--data-dir", str(directory / "data")]
    with subprocess.Popen(command, env=clean, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        too_late = threading.Timer(scaled(READY_WITHIN_S), process.kill)
        too_late.start()
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.rstrip())
            if said[-1] == READY:
                break
        too_late.cancel()
        assert said[-1:] == [READY]
        assert said[0].startswith("starting Postgres, Redis, S3, sandbox, API, dispatcher, ")
        for part in ("Postgres", "Redis", "S3", "sandbox", "API"):
            assert any(line.startswith(f"  {part} ") and " ready after " in line for line in said), part
        environment = read_environment(directory / "data" / "cutout.env")
        # Those are of the API that was started, not of commands in another shell.
        assert not environment.keys() & {"CUTOUT_API_DRAIN_SECONDS", "CUTOUT_METRICS_ADDRESS"}
        yield Cutout(environment, directory)
        process.send_signal(signal.SIGINT)
        assert process.wait(scaled(READY_WITHIN_S)) == 0


def read_environment(path: Path) -> dict[str, str]:
    """The variables that a shell takes from the file."""
    assert path.stat().st_mode & 0o077 == 0
    lines = (shlex.split(line)[1] for line in path.read_text().splitlines())
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.long("starts every server and process twice; tests/cli/test_running_system.py starts them once")
def test_what_was_bought_is_found_again_after_a_new_start(picture: bytes, tmp_path: Path) -> None:
    """The second start has the same endpoint, account and data, so the same pictures cost nothing."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(picture)
    for paid in ("1 credit", "0 credits"):
        with up(tmp_path) as cutout:
            ran = cutout("ingest", "pictures", "--wait")
            assert ran.code == 0, ran.stderr
            assert f"1 of 1 done, 0 failed, 0 held, {paid}" in ran.stderr + ran.stdout
            assert cutout("doctor").code == 0
