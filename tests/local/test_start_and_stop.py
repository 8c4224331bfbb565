"""The three servers together, from one start to the next."""

from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from local import DirectoryInUseError, LocalServices

NewProcesses = Callable[[], set[psutil.Process]]


def all_named(data_dir: Path) -> LocalServices:
    return LocalServices(
        data_dir,
        database_url="postgresql+psycopg://me@db/cutout",
        redis_url="redis://cache/3",
        s3_endpoint_url="https://s3.example",
    )


@pytest.fixture
def new_processes() -> NewProcesses:
    """The descendants of this process that were not there before the test."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: set(psutil.Process().children(recursive=True)) - before


@pytest.mark.long("starts all servers twice")
def test_second_start_finds_the_data(tmp_path: Path, new_processes: NewProcesses) -> None:
    """Data of one run is there in the next, at the same addresses; between them nothing runs."""
    first = LocalServices(tmp_path, durable=False)
    with first:
        assert first.postgres
        assert first.seaweed
        with psycopg.connect(plain(first.database_url), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (word text)")
        with redis.Redis.from_url(first.redis_url) as client:
            client.set("kept", "yes")
        assert first.seaweed._request("PUT", "/kept", b"")[0] == 200
        assert first.seaweed._request("PUT", "/kept/object", b"yes")[0] == 200
        environment = first.environment()
    assert new_processes() == set()

    with LocalServices(tmp_path) as second:
        assert second.seaweed
        assert second.environment() == environment
        with psycopg.connect(plain(second.database_url)) as connection:
            assert connection.execute("SELECT * FROM kept").fetchall() == []
        with redis.Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"yes"
        assert second.seaweed._request("GET", "/kept/object", b"") == (200, b"yes")


def test_named_services_are_not_started(tmp_path: Path, new_processes: NewProcesses) -> None:
    """A service whose URL is given is passed on as it is, and its keys are left to the environment."""
    with all_named(tmp_path) as services:
        assert new_processes() == set()
        assert services.environment() == {
            "CUTOUT_DATABASE_URL": "postgresql+psycopg://me@db/cutout",
            "CUTOUT_REDIS_URL": "redis://cache/3",
            "CUTOUT_S3_ENDPOINT_URL": "https://s3.example",
        }


def test_a_failed_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_processes: NewProcesses
) -> None:
    """When one server cannot start the others are stopped, and the directory is free again."""
    monkeypatch.setenv("CUTOUT_LOCAL_POSTGRES_BIN", "/nowhere")
    services = LocalServices(tmp_path, s3_endpoint_url="https://s3.example", durable=False)
    with pytest.raises(RuntimeError, match="/nowhere"):
        services.start()
    assert new_processes() == set()
    monkeypatch.delenv("CUTOUT_LOCAL_POSTGRES_BIN")
    with services, psycopg.connect(plain(services.database_url)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_one_process_twice(tmp_path: Path) -> None:
    """A second start in the same process is refused too."""
    with all_named(tmp_path) as services:
        with pytest.raises(DirectoryInUseError):
            all_named(tmp_path).start()
        with pytest.raises(RuntimeError, match="started already"):
            services.start()


def test_a_directory_that_was_there(tmp_path: Path) -> None:
    """The mode of a directory that we did not make is not ours to change."""
    tmp_path.chmod(0o750)
    with all_named(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o750


def plain(database_url: str) -> str:
    return database_url.replace("+psycopg", "")
