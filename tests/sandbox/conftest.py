from collections.abc import Iterator

import pytest

from tests.sandbox.client import Client
from tests.sandbox.pictures import encoded, product
from tests.support.sandbox import Sandbox

DEFAULTS = {
    "latency": 0,
    "latency_spread": 0.25,
    "url_lifetime": 86400,
    "envelope": "page",
    "statuses": "current",
    "calls_per_second": None,
    "calls_in_flight": None,
}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One sandbox process for all tests."""
    with Sandbox(tmp_path_factory.mktemp("sandbox") / "log", "--key", "poor=0") as started:
        client = Client(started.url, started.key)
        with client.http:
            yield client


@pytest.fixture
def client(running: Client) -> Client:
    """The sandbox as if it had just been started."""
    running.set(**DEFAULTS, credits={running.key: 1_000_000, "poor": 0})
    for part in ("faults", "ledger", "stats"):
        running.http.delete(f"/sandbox/{part}").raise_for_status()
    return running


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A picture the endpoint takes."""
    return encoded(product())
