from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from jobs.settings import load_settings
from jobs.storage import Bucket
from local import LocalServices
from tests.cli.command import Cutout
from tests.conftest import make_room, url_of
from tests.support import fates as fates_of
from tests.support.databases import Databases
from tests.support.fates import Fates
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.system import System


@pytest.fixture
def cutout(environment: dict[str, str], tmp_path: Path) -> Cutout:
    """The command, at this test's own database and bucket; nothing else runs."""
    return Cutout(environment, tmp_path)


@pytest.fixture
def picture() -> bytes:
    """A small picture that the endpoint takes."""
    return encoded(plain(), "PNG")


@pytest.fixture
def make_batch(engine: Engine) -> Callable[[str, Fates], str]:
    """Makes a batch of jobs that ended in different ways; gives its id."""

    def make(name: str, fates: Fates) -> str:
        return str(fates_of.make_batch(engine, fates, name=name))

    return make


@pytest.fixture(scope="class")
def system(
    services: LocalServices,
    databases: Databases,
    sandbox: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """API, dispatcher and one worker, shared by the tests of a class."""
    sandbox.reset()
    name = databases.take()
    environment = {
        **services.environment(),
        "CUTOUT_DATABASE_URL": url_of(services, name),
        "CUTOUT_REDIS_PREFIX": f"{name}:",
        "CUTOUT_S3_BUCKET": name.replace("_", "-"),
        "CUTOUT_ENDPOINT_URL": sandbox.url,
        "CUTOUT_ENDPOINT_API_KEYS": sandbox.key,
        "CUTOUT_RESULT_HOSTS": sandbox.host,
        "CUTOUT_CALLS_PER_SECOND": "1000",
        "CUTOUT_CALLS_IN_FLIGHT": "100",
        "CUTOUT_WORKER_THREADS": "4",
        "CUTOUT_REUSE": "off",
    }
    settings = {key.removeprefix("CUTOUT_").lower(): value for key, value in environment.items()}
    bucket = Bucket(load_settings(**settings))
    bucket.create()
    make_room(services, bucket.name)
    bucket.close()
    with System(environment, tmp_path_factory.mktemp("system")) as running:
        yield running
    databases.give_back(name)
