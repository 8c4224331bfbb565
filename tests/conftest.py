"""Real servers for every test: one Postgres, Valkey and SeaweedFS a run, a database and bucket a test."""

import os
import resource
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from cutout.models.database import connect
from cutout.settings import Settings, load_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade
from tests.support.databases import Databases, copy_of
from tests.support.plain_http import NO_TLS
from tests.support.sandbox import Sandbox
from tests.support.system import System

pytest_plugins = ["pytester", "tests.support.garbage", "tests.support.tiers"]

# Whoever runs the tests may have a Postgres of their own (local/binaries.py).
POSTGRES_BIN = "CUTOUT_LOCAL_POSTGRES_BIN"
TEMPLATE = "cutout_template"
SHARED = "cutout_shared"


# They mostly wait: for the silence of what was killed, the end of a lease, the answer to a slow call. The
# longest stand first, so that none is begun last.
WAITING = (
    "tests/api/test_schema.py",
    "tests/soak/test_soak.py",
    "tests/cli/test_ingest_killed.py",
    "tests/faults/",
    "tests/flow/",
    "tests/operations/",
)
# The last tests are short ones, so that all workers end at about the same time.
SPREAD_OVER = 0.8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist, spread what waits among what works: one worker's waits are the others' time."""
    if not hasattr(config, "workerinput"):
        return
    scopes: dict[str, list[pytest.Item]] = {}
    for item in items:
        scopes.setdefault(item.nodeid.rpartition("::")[0], []).append(item)
    waiting = [tests for part in WAITING for name, tests in scopes.items() if name.startswith(part)]
    working = [tests for name, tests in scopes.items() if not name.startswith(WAITING)]
    items[:] = _spread(waiting, working)


def _spread(waiting: list[list[pytest.Item]], working: list[list[pytest.Item]]) -> list[pytest.Item]:
    between = SPREAD_OVER * sum(map(len, working)) / max(len(waiting), 1)
    spread: list[pytest.Item] = []
    worked, left = 0, list(reversed(waiting))
    for tests in working:
        while left and worked >= between * (len(waiting) - len(left)):
            spread += left.pop()
        spread += tests
        worked += len(tests)
    return spread + [test for tests in reversed(left) for test in tests]


def url_of(services: LocalServices, database: str) -> str:
    """The address of another database on the same server."""
    return make_url(services.database_url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the developer's own settings out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [
            name for name in os.environ if name.startswith(("CUTOUT_", "AWS_")) and name != POSTGRES_BIN
        ]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def services(
    tmp_path_factory: pytest.TempPathFactory, _no_settings_from_outside: None
) -> Iterator[LocalServices]:
    """The three servers, started once."""
    with LocalServices(tmp_path_factory.mktemp("services"), durable=False) as started:
        yield started


def make_room(services: LocalServices, bucket: str) -> None:
    """Let SeaweedFS make the bucket's volume now: the first write would wait 200 ms for it."""
    assert services.seaweed is not None
    url = f"http://127.0.0.1:{services.seaweed.port('master')}/vol/grow"
    httpx.get(url, params={"collection": bucket, "count": 1}, verify=NO_TLS).raise_for_status()


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings that CUTOUT_ variables name."""
    return load_settings(
        **{name.removeprefix("CUTOUT_").lower(): value for name, value in environment.items()}
    )


@pytest.fixture(scope="session")
def admin(services: LocalServices) -> Iterator[Engine]:
    """Postgres itself, to make databases in."""
    # Some tests kill it.
    engine = create_engine(services.database_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def template(services: LocalServices, admin: Engine) -> str:
    """A migrated database that every test's own is copied from."""
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
    engine = connect(
        make_url(services.database_url).set(database=TEMPLATE).render_as_string(hide_password=False)
    )
    upgrade(engine)
    engine.dispose()
    return TEMPLATE


@pytest.fixture(scope="session")
def databases(admin: Engine, template: str) -> Databases:
    """Databases that tests use one after the other."""
    return Databases(admin, template)


@pytest.fixture
def database_url(services: LocalServices, databases: Databases) -> Iterator[str]:
    """A migrated, empty database for this test alone."""
    name = databases.take()
    yield url_of(services, name)
    databases.give_back(name)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The stand-in for the endpoint as a process, answering at once; `sandbox.reset()` before use."""
    with Sandbox(tmp_path_factory.mktemp("sandbox") / "log") as started:
        yield started


@pytest.fixture
def environment(
    services: LocalServices, database_url: str, sandbox: Sandbox, tmp_path: Path
) -> dict[str, str]:
    """The CUTOUT_ variables of a system of this test's own, at a sandbox without faults or charges."""
    sandbox.reset()
    name = uuid.uuid4().hex
    return {
        **services.environment(),
        "CUTOUT_DATABASE_URL": database_url,
        "CUTOUT_REDIS_PREFIX": f"{name}:",
        "CUTOUT_S3_BUCKET": f"test-{name}",
        "CUTOUT_ENDPOINT_URL": sandbox.url,
        "CUTOUT_ENDPOINT_API_KEYS": sandbox.key,
        "CUTOUT_RESULT_HOSTS": sandbox.host,
        "CUTOUT_CALLS_PER_SECOND": "1000",
        "CUTOUT_CALLS_IN_FLIGHT": "100",
        "CUTOUT_WORKER_THREADS": "8",
        # Most tests count calls for one photo; those of reuse say so.
        "CUTOUT_REUSE": "off",
        "CUTOUT_SPOOL_DIR": str(tmp_path / "spool"),
        # A message lost on its way is handed out again well within a test's patience.
        "CUTOUT_MESSAGE_LEASE_SECONDS": "10",
        # No balancer has to be told first that it ends.
        "CUTOUT_API_DRAIN_SECONDS": "0",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The environment as settings."""
    return settings_of(environment)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """This test's database."""
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def shared_engine(services: LocalServices, admin: Engine, template: str) -> Iterator[Engine]:
    """A migrated database in which nothing is ever committed."""
    with admin.connect() as connection:
        connection.execute(copy_of(template, SHARED))
    engine = connect(url_of(services, SHARED))
    yield engine
    engine.dispose()


@pytest.fixture
def session(shared_engine: Engine) -> Iterator[Session]:
    """One session in a transaction that is rolled back: quicker than a database of its own, and as empty."""
    with shared_engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()


@pytest.fixture(scope="session")
def any_bucket(services: LocalServices) -> Iterator[Bucket]:
    """A bucket whose connections all tests share: to make a client of S3 takes boto3 12 ms of CPU."""
    environment = {
        **services.environment(),
        "CUTOUT_S3_BUCKET": "any",
        "CUTOUT_ENDPOINT_API_KEYS": "none",
    }
    bucket = Bucket(settings_of(environment))
    yield bucket
    bucket.close()


@pytest.fixture
def bucket(settings: Settings, services: LocalServices, any_bucket: Bucket) -> Bucket:
    """This test's bucket, made and empty."""
    bucket = any_bucket.sibling(settings.s3_bucket)
    bucket.create()
    make_room(services, bucket.name)
    return bucket


@pytest.fixture(scope="class")
def shared_system(
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
        # No balancer has to be told first that it ends.
        "CUTOUT_API_DRAIN_SECONDS": "0",
    }
    bucket = Bucket(settings_of(environment))
    bucket.create()
    make_room(services, bucket.name)
    bucket.close()
    with System(environment, tmp_path_factory.mktemp("system")) as running:
        yield running
    databases.give_back(name)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real product photo that the endpoint takes as it is."""
    return (Path(__file__).parent.parent / "photos" / "eniko-kis-663725-unsplash.jpg").read_bytes()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Makes a context in which no file of this process grows past 100 bytes; ids are kept in files alone."""
    monkeypatch.setattr("cutout.queue.job_ids.KEPT_IN_MEMORY", 1)

    @contextmanager
    def make() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return make
