"""Benches with a bucket that can be cut off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.proxy import Proxy


@pytest.fixture
def source(shop: str) -> str:
    """The photo's address."""
    return f"http://{shop}/a.jpg"


@pytest.fixture
def lifeboat(tmp_path: Path) -> Path:
    """The directory of the lifeboat."""
    return tmp_path / "lifeboat"


@pytest.fixture
def make_shaky(make_bench: Callable[..., Bench], proxy: Proxy, shop: str) -> Callable[..., Bench]:
    """A bench whose bucket is behind the proxy."""

    def make(**changed: object) -> Bench:
        return make_bench(s3_endpoint_url=proxy.url, source_private_hosts=(shop,), **changed)

    return make


@pytest.fixture
def shaky(make_shaky: Callable[..., Bench], lifeboat: Path) -> Bench:
    """A bench whose bucket is behind the proxy, with a lifeboat."""
    return make_shaky(lifeboat_dir=str(lifeboat))
