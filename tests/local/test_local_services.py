"""The three servers together, while they run."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from local import LocalServices, S3Access

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def sql(services: LocalServices, statement: str) -> list[tuple[object, ...]]:
    url = services.database_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def client(access: S3Access) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=access.endpoint_url,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name=access.region,
    )


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    with LocalServices(tmp_path_factory.mktemp("a dir's") / "data", durable=False) as started:
        yield started


def test_answers(services: LocalServices) -> None:
    """Each service does its work at the address given."""
    assert sql(services, "SELECT current_database(), current_setting('timezone')") == [("cutout", "UTC")]
    with redis.Redis.from_url(services.redis_url) as connection:
        assert connection.ping()
    s3 = client(services.s3)
    s3.create_bucket(Bucket="pictures")
    s3.put_object(Bucket="pictures", Key="a b/ü.png", Body=b"picture")
    assert s3.get_object(Bucket="pictures", Key="a b/ü.png")["Body"].read() == b"picture"
    s3.close()


def test_environment(services: LocalServices) -> None:
    """The environment names every service and carries the keys."""
    assert services.environment() == {
        "CUTOUT_DATABASE_URL": services.database_url,
        "CUTOUT_REDIS_URL": services.redis_url,
        "CUTOUT_S3_ENDPOINT_URL": services.s3.endpoint_url,
        "CUTOUT_S3_ACCESS_KEY": services.s3.access_key,
        "CUTOUT_S3_SECRET_KEY": services.s3.secret_key,
        "CUTOUT_S3_REGION": "us-east-1",
    }


def test_listens_on_loopback_only(services: LocalServices) -> None:
    """No server listens anywhere but on 127.0.0.1."""
    servers = [services.postgres, services.valkey, services.seaweed]
    for server in servers:
        assert server
        assert server.pid
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(server.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}, server.name


def test_refuses_strangers(services: LocalServices) -> None:
    """A wrong password, none, or a wrong key opens nothing."""
    assert services.valkey
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(services.database_url.replace("+psycopg", "").replace("cutout:", "cutout:x"))
    with (
        redis.Redis(port=services.valkey.port("redis"), retry=Retry(NoBackoff(), 0)) as connection,
        pytest.raises(redis.AuthenticationError),
    ):
        connection.ping()
    s3 = client(S3Access(services.s3.endpoint_url, services.s3.access_key, "wrong", "us-east-1"))
    with pytest.raises(s3.exceptions.ClientError, match="SignatureDoesNotMatch"):
        s3.list_buckets()
    s3.close()


def test_files_are_private(services: LocalServices) -> None:
    """Others can neither enter the data directory nor read a secret, a log or a pid file in it."""
    assert stat.S_IMODE(services.data_dir.stat().st_mode) == 0o700
    private = [path for path in services.data_dir.glob("*/*") if path.is_file() and path.name != "ports"]
    assert {path.name for path in private} == {
        *("access_key", "secret_key", "password", "valkey.conf", "log", "pid"),
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_secrets_are_on_no_command_line(services: LocalServices) -> None:
    """No command line, which any user may read, holds a password or key."""
    secrets = [path.read_text() for path in services.data_dir.glob("*/password")]
    secrets += [path.read_text() for path in services.data_dir.glob("*/*_key")]
    assert len(secrets) == 4
    commands = " ".join(map(_command_line, psutil.Process().children(recursive=True)))
    assert not [secret for secret in secrets if secret in commands]


def _command_line(process: psutil.Process) -> str:
    """Its command line; empty for one that has ended meanwhile, such as a backend of Postgres."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def test_second_process_is_refused(services: LocalServices) -> None:
    """Another process is told which directory, which process, and what to do; nothing is harmed."""
    code = "import local, pathlib, sys; local.LocalServices(pathlib.Path(sys.argv[1])).start()"
    command = [sys.executable, "-c", code, str(services.data_dir)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == (
        f"local.errors.DirectoryInUseError: {services.data_dir} is in use by process {os.getpid()}."
        f" Stop it (kill {os.getpid()}), or choose another data directory."
    )
    assert sql(services, "SELECT 1") == [(1,)]


def test_tells_which_servers_it_starts(tmp_path: Path) -> None:
    """Each server that is not given is started within the context that its name makes."""
    told: list[str] = []

    @contextmanager
    def watch(name: str) -> Iterator[None]:
        told.append(f"{name} begins")
        yield
        assert one.valkey is not None
        assert one.valkey.pid is not None
        told.append(f"{name} answers")

    one = LocalServices(
        tmp_path, database_url="postgresql://given", s3_endpoint_url="http://given", while_starting=watch
    )
    with one:
        assert told == ["Valkey begins", "Valkey answers"]
