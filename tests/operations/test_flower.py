import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.machine import scaled
from tests.support.ports import free_port
from tests.support.system import System, wait_until


@contextmanager
def flower(system: System, log: Path) -> Iterator[httpx.Client]:
    """Flower as docs/operate/metrics.md starts it; its API is asked by a client."""
    port = free_port()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "--app=worker.app", "flower"),
                *("--address=127.0.0.1", f"--port={port}"),
            ],
            env=system.environment | {"FLOWER_UNAUTHENTICATED_API": "true", "HOME": os.environ["HOME"]},
            stdout=said,
            stderr=said,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client:
            yield client
    finally:
        process.terminate()
        process.wait(scaled(20))


def asked(client: httpx.Client, path: str) -> dict[str, Any]:
    """The answer of Flower's API; nothing while it starts."""
    try:
        answer = client.get(path)
    except httpx.TransportError:
        return {}
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


@pytest.mark.long("starts Flower, which takes its time")
@pytest.mark.usefixtures("bucket")
def test_flower_shows_workers_and_tasks(environment: dict[str, str], photo: bytes, tmp_path: Path) -> None:
    """On the Celery app as it is, Flower finds the worker with its queues and sees its tasks go by."""
    with System(environment, tmp_path) as system, flower(system, tmp_path / "flower.log") as client:
        wait_until(lambda: bool(asked(client, "/api/workers?refresh=true")), "a worker")
        (worker,) = asked(client, "/api/workers").values()
        assert {queue["name"] for queue in worker["active_queues"]} == {"call", "copy"}
        assert "cutout.process" in worker["registered"]

        def seen() -> bool:
            system.client.post("/v1/jobs", files={"image": ("a.jpg", photo)}).raise_for_status()
            tasks = asked(client, "/api/tasks").values()
            return any((task["name"], task["state"]) == ("cutout.process", "SUCCESS") for task in tasks)

        wait_until(seen, "a task")
        system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
