from collections.abc import Callable, Iterator

import pytest
import redis
from sqlalchemy import Engine

from cutout.enums import Reuse
from cutout.settings import Settings
from cutout.storage import Bucket
from local import LocalServices
from tests.support.bench import Bench
from tests.support.proxy import Proxy
from tests.support.web import serve
from tests.worker.limiting import MakeLimiter
from worker.limiter.limiter import Ceilings, Learned, Limiter
from worker.pipeline.context import WorkerContext


@pytest.fixture
def make_bench(engine: Engine, bucket: Bucket, settings: Settings) -> Iterator[Callable[..., Bench]]:
    """A bench with settings changed."""
    contexts = []

    def make(**changed: object) -> Bench:
        context = WorkerContext(settings.model_copy(update=changed))
        context.start()
        contexts.append(context)
        return Bench(engine, bucket, context)

    yield make
    for context in contexts:
        context.stop()


@pytest.fixture
def reusing(make_bench: Callable[..., Bench]) -> Bench:
    """A bench that reuses cutouts bought before."""
    return make_bench(reuse=Reuse.PRODUCER)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with the test's settings."""
    return make_bench()


@pytest.fixture
def proxy(services: LocalServices) -> Iterator[Proxy]:
    """A proxy before the bucket."""
    assert services.seaweed is not None
    with Proxy(services.seaweed.port("s3")) as proxy:
        yield proxy


@pytest.fixture
def shop(photo: bytes) -> Iterator[str]:
    """A web server with a photo, so that sources need no bucket; gives `host:port`."""
    with serve({"/a.jpg": photo}) as host:
        yield host


@pytest.fixture
def client(settings: Settings) -> Iterator[redis.Redis]:
    """A connection to the real Redis."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield client


@pytest.fixture
def make_limiter(client: redis.Redis, settings: Settings) -> Iterator[MakeLimiter]:
    """Limiters of one account, as several processes would make them."""
    made: list[Limiter] = []

    def make(
        *, rate: float | None = 1000.0, in_flight: int | None = 100, learned: Learned | None = None
    ) -> Limiter:
        ceilings = Ceilings(rate, in_flight)
        made.append(Limiter(client, settings.redis_prefix, ceilings, lambda: learned))
        return made[-1]

    yield make
    for limiter in made:
        limiter.close()
