"""Fixtures: a sandbox of the endpoint in its own process."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cutout.endpoint.client import EndpointClient
from cutout.images.image import PreparedImage
from tests.cutout.images.pictures import encoded

KEY = "sandbox-key"


class Sandbox:
    """Control routes of a running sandbox."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, trust_env=False, timeout=10)

    def order(self, kind: str, **details: Any) -> None:
        self._post("faults", {"kind": kind, "next": 1, **details})

    def change(self, **settings: Any) -> None:
        self._post("settings", settings)

    def charged(self) -> float:
        total: float = self._http.get("/sandbox/ledger", params={"charges": False}).json()["total"]
        return total

    def reset(self) -> None:
        self._http.delete("/sandbox/faults").raise_for_status()
        self._http.delete("/sandbox/ledger").raise_for_status()
        self.change(envelope="page", statuses="current", credits={KEY: 1000})

    def close(self) -> None:
        self._http.close()

    def _post(self, route: str, body: dict[str, Any]) -> None:
        self._http.post(f"/sandbox/{route}", json=body).raise_for_status()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sandbox = Sandbox(process.stdout.readline().strip())
        yield sandbox
        sandbox.close()
        process.terminate()


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Sandbox:
    sandbox_process.reset()
    return sandbox_process


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[EndpointClient]:
    with EndpointClient(sandbox.base_url, KEY) as client:
        yield client


@pytest.fixture(scope="session")
def picture() -> PreparedImage:
    return PreparedImage(encoded("JPEG", size=(64, 48)), "image/jpeg", "image.jpg", 64, 48)
