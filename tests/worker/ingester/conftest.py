"""Fixtures: requests to an ingester, and an ingester to carry them out."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from cutout.models.database import connect
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.worker.ingester.ingesting import Desk
from worker.ingester.loop import CONNECTIONS, Ingester
from worker.ingester.reader import Reader


@pytest.fixture
def desk(engine: Engine, bucket: Bucket) -> Desk:
    """A desk for the test's database."""
    return Desk(engine, bucket)


@pytest.fixture
def ingester_settings(settings: Settings) -> Settings:
    """Settings under which manifests may be on this machine."""
    return settings.model_copy(update={"source_private_hosts": ("127.0.0.1",)})


@pytest.fixture
def own_engine(settings: Settings) -> Iterator[Engine]:
    """An engine with as many connections as an ingester has."""
    engine = connect(settings.database_url.get_secret_value(), connections=CONNECTIONS)
    yield engine
    engine.dispose()


@pytest.fixture
def start(
    ingester_settings: Settings, own_engine: Engine, bucket: Bucket
) -> Iterator[Callable[..., Callable[[], bool]]]:
    """Runs an ingester; returns a function that stops it and tells whether all requests had ended."""
    stops = []

    def run(**changed: float) -> Callable[[], bool]:
        reader = Reader(ingester_settings, own_engine, bucket, **changed)
        at_work = Ingester(ingester_settings, own_engine, bucket, reader=reader)
        ended: list[bool] = []
        thread = threading.Thread(target=lambda: ended.append(at_work.run()))
        thread.start()

        def stop() -> bool:
            at_work.stop()
            thread.join()
            return ended[0]

        stops.append(stop)
        return stop

    yield run
    for stop in stops:
        stop()
