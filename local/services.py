"""The three servers together, under one data directory."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from local.child import Child
from local.forked import ForkServer
from local.pidfile import PidFile
from local.postgres import PostgresServer
from local.seaweed import S3Access, SeaweedServer
from local.server import Server
from local.valkey import ValkeyServer


class LocalServices:
    """Postgres, Redis and S3 for as long as the context lasts; each started here unless its URL is given.

    `data_dir` (made with mode 0700) holds a directory for each server and child: its data, log and pid file.
    They stay for the next start. One process at a time uses a data directory.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        s3_endpoint_url: str | None = None,
        durable: bool = True,
        while_starting: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`durable=False` is for tests: quicker; a power cut may cost the data, a kill -9 never does.

        `while_starting` makes a context from a server's name; the server is started in it, by its own thread.
        """
        self.data_dir = data_dir.absolute()
        self.postgres = None if database_url else PostgresServer(self.data_dir / "postgres", durable=durable)
        self.valkey = None if redis_url else ValkeyServer(self.data_dir / "valkey", durable=durable)
        self.seaweed = None if s3_endpoint_url else SeaweedServer(self.data_dir / "seaweed", durable=durable)
        self._database_url = database_url
        self._redis_url = redis_url
        self._s3_endpoint_url = s3_endpoint_url
        self._while_starting = while_starting
        self._pid_file = PidFile(self.data_dir / "pid")

    @property
    def database_url(self) -> str:
        """A SQLAlchemy URL: postgresql+psycopg://user:password@host:port/database."""
        return self.postgres.database_url if self.postgres else self._database_url or ""

    @property
    def redis_url(self) -> str:
        """redis://:password@host:port/0."""
        return self.valkey.redis_url if self.valkey else self._redis_url or ""

    @property
    def s3(self) -> S3Access:
        """The endpoint; with keys and region if it was started here."""
        return self.seaweed.s3 if self.seaweed else S3Access(self._s3_endpoint_url or "")

    def environment(self) -> dict[str, str]:
        """The settings that name these services. Keys of an S3 that was given stay with the environment."""
        settings = {
            "CUTOUT_DATABASE_URL": self.database_url,
            "CUTOUT_REDIS_URL": self.redis_url,
            "CUTOUT_S3_ENDPOINT_URL": self.s3.endpoint_url,
            "CUTOUT_S3_ACCESS_KEY": self.s3.access_key,
            "CUTOUT_S3_SECRET_KEY": self.s3.secret_key,
            "CUTOUT_S3_REGION": self.s3.region,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def start(self) -> None:
        """Start what was not given, all at once, and return when all of it answers.

        Raises LocalServiceError; nothing is left running then.
        """
        if self._pid_file.held:
            raise RuntimeError(f"the services in {self.data_dir} are started already")
        self._pid_file.acquire()
        try:
            self._end_left_behind()
            with ThreadPoolExecutor() as pool:
                for started in [pool.submit(self._start, server) for server in self._servers()]:
                    started.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop what was started here, all at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.stop(), self._servers()))
        self._pid_file.release()

    def child(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        log: bool = True,
        fork_server: ForkServer | None = None,
        grace_seconds: float = 10.0,
    ) -> Child:
        """A process of our own beside the servers, not yet started: its log and pid file in data_dir/name.

        Should this process be killed, the next start() ends it. Without `log` it writes where we do.
        """
        directory = self.data_dir / name
        return Child(
            command,
            pid_file=PidFile(directory / "pid"),
            log=directory / "log" if log else None,
            environment=environment,
            fork_server=fork_server,
            grace_seconds=grace_seconds,
        )

    def _start(self, server: Server) -> None:
        with self._while_starting(server.name):
            server.start()

    def _servers(self) -> list[Server]:
        return [server for server in (self.postgres, self.valkey, self.seaweed) if server]

    def _end_left_behind(self) -> None:
        # Also children of a run with other services or more workers than this one.
        for path in self.data_dir.glob("*/pid"):
            pid_file = PidFile(path)
            pid_file.acquire()
            pid_file.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
