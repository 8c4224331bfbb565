from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from jobs.settings import Settings
from jobs.storage import Bucket
from tests.support.bench import Bench
from worker.context import WorkerContext


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
    """A bench that serves what was bought before."""
    return make_bench(reuse=True)


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with the test's settings."""
    return make_bench()
