"""Each server by itself: killed, restarted, in the way of another."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from local import LocalServiceError, PostgresServer, SeaweedServer, ServerStartError, ValkeyServer
from local.ports import keep_ports
from local.server import Server
from tests.support.servers import restart


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey"), durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    with SeaweedServer(tmp_path_factory.mktemp("seaweed"), durable=False) as server:
        yield server


def crashed(server: Server) -> None:
    server.kill()
    assert server.pid is None
    server.start()


def crashed_by_another(server: Server) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    restart(server)


def restarted(server: Server) -> None:
    restart(server)


each_way = pytest.mark.parametrize("again", [crashed, crashed_by_another, restarted])


@each_way
def test_postgres_keeps_its_data(postgres: PostgresServer, again: Callable[[Server], None]) -> None:
    """Committed rows are there after a kill -9 and after a restart, at the same URL."""
    url = postgres.database_url.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    again(postgres)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


@each_way
def test_valkey_keeps_its_data(valkey: ValkeyServer, again: Callable[[Server], None]) -> None:
    """A client with the URL finds what it wrote after a kill -9 and after a restart."""
    with redis.Redis.from_url(valkey.redis_url) as client:
        client.delete("kept")
        client.rpush("kept", *range(1000))
        again(valkey)
        assert client.llen("kept") == 1000


@each_way
def test_seaweed_keeps_its_data(seaweed: SeaweedServer, again: Callable[[Server], None]) -> None:
    """An object is there after a kill -9 and after a restart, at the same endpoint."""
    endpoint, body = seaweed.s3.endpoint_url, b"picture" * 10_000
    assert seaweed._request("PUT", "/kept", b"")[0] in {200, 409}
    assert seaweed._request("PUT", "/kept/object", body)[0] == 200
    again(seaweed)
    assert seaweed.s3.endpoint_url == endpoint
    assert seaweed._request("GET", "/kept/object", b"") == (200, body)


@pytest.mark.long("starts a server again and again")
def test_seaweed_leaves_no_sockets(tmp_path: Path) -> None:
    """The sockets that weed makes in /tmp are gone with it, killed or stopped."""
    server = SeaweedServer(tmp_path, durable=False)

    def sockets() -> list[Path]:
        made = Path("/tmp")  # noqa: S108 - by weed
        return [path for port in server._ports.values() for path in made.glob(f"seaweedfs-*{port}*")]

    server.start()
    assert sockets()
    server.kill()
    assert sockets() == []
    with server:
        assert sockets()
    assert sockets() == []


def test_an_interrupted_initdb_is_begun_anew(tmp_path: Path) -> None:
    """A half-made database, left by a kill during the first start, is no obstacle to the next."""
    left = tmp_path / "data.unfinished"
    left.mkdir()
    (left / "PG_VERSION").write_text("18\n")
    with PostgresServer(tmp_path, durable=False) as server:
        assert server.pid


def test_postgres_ignores_a_recycled_postmaster_pid(tmp_path: Path) -> None:
    """A postmaster.pid whose number is another process's by now, as in a new container, stops nothing."""
    server = PostgresServer(tmp_path, durable=False)
    server.start()
    left = (tmp_path / "data" / "postmaster.pid").read_text().splitlines()
    server.kill()
    with ValkeyServer(tmp_path / "valkey", durable=False) as other:
        left[0] = str(other.pid)
        (tmp_path / "data" / "postmaster.pid").write_text("\n".join(left) + "\n")
        with server:
            assert server.pid


def test_a_failed_start_shows_the_log(valkey: ValkeyServer) -> None:
    """The error of a server that ends while starting ends with the server's own words."""
    valkey.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", valkey.port("redis")))
        taken.listen()
        with pytest.raises(ServerStartError, match=r"(?s)ended while starting.*Address already in use"):
            valkey.start()
    valkey.start()


def test_a_port_lost_before_the_first_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody is quicker to take the port just chosen, another is chosen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        choices = [[taken.getsockname()[1]], keep_ports(tmp_path / "free", 1)]
        monkeypatch.setattr("local.server.keep_ports", lambda *_, **__: choices.pop(0))
        with ValkeyServer(tmp_path / "valkey", durable=False) as server:
            assert server.pid
    assert choices == []


def test_a_running_server_is_not_started(valkey: ValkeyServer) -> None:
    """A second start of a server that runs is an error, and does it no harm."""
    pid = valkey.pid
    with pytest.raises(RuntimeError, match=f"Valkey already runs as process {pid}"):
        valkey.start()
    assert valkey.pid == pid


def test_no_address_before_the_first_start(tmp_path: Path) -> None:
    """Asked for its address too early, a server says so."""
    with pytest.raises(RuntimeError, match="no address before its first start"):
        _ = ValkeyServer(tmp_path).redis_url


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A data directory that is in the way of a file is told by its name."""
    (tmp_path / "file").touch()
    with pytest.raises((LocalServiceError, NotADirectoryError), match="file"):
        ValkeyServer(tmp_path / "file" / "valkey").start()
