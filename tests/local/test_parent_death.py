"""The end of the children when the process that started them dies."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from local import LocalServices
from local.seaweed import unlink_sockets
from tests.support.machine import scaled

PARENT = """
import json, signal, sys, time
from pathlib import Path
from local import LocalServices
from local.lifeline import LIFELINE

# A shell starts background jobs with SIGINT ignored, and the test may be in one.
signal.signal(signal.SIGINT, signal.default_int_handler)
with LocalServices(Path(sys.argv[1]), durable=False, **json.loads(sys.argv[2])) as services:
    worker = services.child("worker-1", [sys.executable, "-c", "import time; time.sleep(100)"])
    worker.start()
    servers = filter(None, [services.postgres, services.valkey, services.seaweed])
    guard = LIFELINE._guard._process.pid
    print(json.dumps([guard, worker.pid, *(server.pid for server in servers)]), flush=True)
    time.sleep(100)
"""


class Family(NamedTuple):
    parent: "subprocess.Popen[bytes]"
    guard: psutil.Process
    children: list[psutil.Process]


@contextmanager
def started(data_dir: Path, **named: str) -> Iterator[Family]:
    command = [sys.executable, "-c", PARENT, str(data_dir), json.dumps(named)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        guard, *children = map(psutil.Process, json.loads(parent.stdout.readline()))
        # With their own children: Postgres' back ends lead sessions of their own.
        children += [grandchild for process in children for grandchild in process.children(recursive=True)]
        yield Family(parent, guard, children)
        parent.kill()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    with started(tmp_path) as family:
        assert len(family.children) > 6
        yield family
    unlink_sockets(json.loads((tmp_path / "seaweed" / "ports").read_text()))


def living(processes: list[psutil.Process], within_seconds: float) -> list[psutil.Process]:
    give_up_at = time.monotonic() + scaled(within_seconds)
    while alive := [process for process in processes if process.is_running() and not is_zombie(process)]:
        if time.monotonic() > give_up_at:
            break
        time.sleep(0.02)
    return alive


def is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.long("starts and kills all servers")
def test_nothing_survives_kill_9(family: Family) -> None:
    """When the parent is killed its children, theirs, and their guard are gone within seconds."""
    family.parent.kill()
    assert living([*family.children, family.guard], within_seconds=10) == []


@pytest.mark.long("starts and kills all servers")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_parent(tmp_path: Path, how: signal.Signals) -> None:
    """Nor do they survive another end of it, Ctrl-C among them."""
    with started(tmp_path, database_url="postgresql://db", s3_endpoint_url="http://s") as family:
        family.parent.send_signal(how)
        family.parent.wait(60)
        assert living([*family.children, family.guard], within_seconds=30) == []


@pytest.mark.long("starts and kills all servers")
def test_the_next_start_ends_what_was_left(family: Family, tmp_path: Path) -> None:
    """When the guard was killed too, the children live on, until the next start ends every one of them."""
    family.guard.kill()
    living([family.guard], within_seconds=30)
    family.parent.kill()
    family.parent.wait(30)
    # Postgres ends back ends of its own accord, as after a vacuum.
    left = {process.name() for process in living(family.children, within_seconds=0.5)}
    # A virtual environment names its interpreter `python`, `python3` or `python3.11`.
    assert left >= {Path(sys.executable).name, "postgres", "valkey-server", "weed"}
    with LocalServices(
        tmp_path, database_url="postgresql://db", redis_url="redis://r", s3_endpoint_url="http://s"
    ):
        assert living(family.children, within_seconds=2) == []
