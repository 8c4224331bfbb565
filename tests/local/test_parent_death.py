"""What becomes of the children when the process that started them dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from local import LocalServices

PARENT = """
import json, sys, time
from pathlib import Path
from local import LocalServices
from local.lifeline import LIFELINE

with LocalServices(Path(sys.argv[1]), durable=False) as services:
    worker = services.child("worker-1", [sys.executable, "-c", "import time; time.sleep(100)"])
    worker.start()
    servers = [services.postgres, services.valkey, services.seaweed]
    guard = LIFELINE._guard._process.pid
    print(json.dumps({"guard": guard, "pids": [worker.pid, *(server.pid for server in servers)]}), flush=True)
    time.sleep(100)
"""


class Family(NamedTuple):
    parent: "subprocess.Popen[bytes]"
    guard: psutil.Process
    children: list[psutil.Process]
    data_dir: Path


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    with subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pids = json.loads(parent.stdout.readline())
        # With their own children: Postgres' back ends lead sessions of their own.
        children = [psutil.Process(pid) for pid in pids["pids"]]
        children += [grandchild for process in children for grandchild in process.children(recursive=True)]
        assert len(children) > 6
        yield Family(parent, psutil.Process(pids["guard"]), children, tmp_path)
        parent.kill()


def living(processes: list[psutil.Process], within_seconds: float) -> list[psutil.Process]:
    give_up_at = time.monotonic() + within_seconds
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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_survives_the_parent(family: Family, how: signal.Signals) -> None:
    """However the parent ends, kill -9 included, its children and their guard are gone within seconds."""
    family.parent.send_signal(how)
    family.parent.wait(15)
    assert living([*family.children, family.guard], within_seconds=10) == []


def test_the_next_start_ends_what_was_left(family: Family) -> None:
    """When the guard was killed too, the children live on, until the next start ends every one of them."""
    family.guard.kill()
    living([family.guard], within_seconds=5)
    family.parent.kill()
    family.parent.wait(5)
    assert len(living(family.children, within_seconds=0.5)) == len(family.children)
    with LocalServices(
        family.data_dir, database_url="postgresql://db", redis_url="redis://r", s3_endpoint_url="http://s"
    ):
        assert living(family.children, within_seconds=2) == []


def test_a_child_of_ours_is_told_apart(tmp_path: Path) -> None:
    """A child with the name of a server's directory does not get in the server's way unnoticed."""
    with LocalServices(tmp_path, database_url="postgresql://db", s3_endpoint_url="http://s") as services:
        with pytest.raises(RuntimeError, match=f"in use by process {os.getpid()}"):
            services.child("valkey", [sys.executable]).start()
