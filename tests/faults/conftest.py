from collections.abc import Iterator

import pytest

from cutout.storage import Bucket
from local import LocalServices
from tests.support.pictures import numbered
from tests.support.proxy import Proxy
from tests.support.web import serve


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The usual one, in which a worker is gone after the shortest silence that can be set."""
    environment["CUTOUT_WORKER_SILENCE_SECONDS"] = "5"
    return environment


@pytest.fixture
def shop(environment: dict[str, str], photo: bytes) -> Iterator[str]:
    """The address of photos at a web server that workers may ask, so that sources need no bucket.

    There is another one for each number in the query, as `System.enqueue_different` asks for them.
    """
    with serve({"/a.jpg": lambda query: numbered(photo, int(query or 0))}) as host:
        environment["CUTOUT_SOURCE_PRIVATE_HOSTS"] = host
        yield f"http://{host}/a.jpg"


@pytest.fixture
def proxy(services: LocalServices, environment: dict[str, str], bucket: Bucket) -> Iterator[Proxy]:
    """The line between the system and the bucket; the test's own `bucket` does not go through it."""
    assert services.seaweed is not None
    assert bucket.name == environment["CUTOUT_S3_BUCKET"]
    with Proxy(services.seaweed.port("s3")) as proxy:
        environment["CUTOUT_S3_ENDPOINT_URL"] = proxy.url
        yield proxy
