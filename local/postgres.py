"""PostgreSQL."""

import os
import shutil
import signal
from pathlib import Path
from typing import ClassVar

import psycopg

from local.binaries import postgres_bin
from local.child import Child
from local.postgres_account import Account, runnable_bin, unprivileged_account
from local.secret import keep_secret
from local.server import Server

USER = DATABASE = "cutout"
INITDB_WITHIN_SECONDS = 120.0


class PostgresServer(Server):
    """A PostgreSQL server with one user and one database, both `cutout`."""

    name = "PostgreSQL"
    listeners = ("postgres",)
    stop_signal = signal.SIGINT  # fast shutdown: clients are disconnected, not waited for
    # After a kill -9, until the last of the old processes has ended.
    passing_troubles = ("pre-existing shared memory block",)
    not_ready: ClassVar[tuple[type[Exception], ...]] = (psycopg.OperationalError,)
    _account: Account | None
    _bin: Path

    @property
    def database_url(self) -> str:
        """postgresql+psycopg://cutout:password@127.0.0.1:port/cutout; known from the first start on."""
        return f"postgresql+psycopg://{USER}:{self._password()}@127.0.0.1:{self.port('postgres')}/{DATABASE}"

    def _prepare(self) -> None:
        super()._prepare()
        self._account = unprivileged_account()
        self._bin = runnable_bin(postgres_bin(), self._account)
        if self._account:
            self.directory.chmod(0o711)  # entered by `nobody`; what is private in it is so by itself
        if self._data.exists():
            # Our lock says that no server of ours runs, and the key of the shared memory, made from the
            # directory's inode, keeps out any other. The pid in this file may be another process's by now.
            (self._data / "postmaster.pid").unlink(missing_ok=True)
        else:
            self._initialise()

    def _initialise(self) -> None:
        # Under another name until it is whole: a killed initdb leaves a directory that looks like one.
        unfinished = self._data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._password()
        if self._account:
            os.chown(unfinished, *self._account)
            os.chown(self.directory / "password", *self._account)
        with self._run(self._initdb(unfinished), unfinished, self._account) as initdb:
            if initdb.wait(INITDB_WITHIN_SECONDS) != 0:
                raise self._start_error(f"could not make a database in {unfinished}")
        unfinished.rename(self._data)

    def _initdb(self, data: Path) -> list[str | Path]:
        return [
            self._bin / "initdb",
            f"--pgdata={self._seen(data)}",
            f"--pwfile={self._seen(data)}/../password",
            f"--username={USER}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            # The password's 4096 rounds of hashing cost a client 2 ms of CPU a connection.
            *([] if self.durable else ["--no-sync", "--set=scram_iterations=1"]),
        ]

    def _command(self) -> list[str | Path]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port("postgres")),
            "unix_socket_directories": "",
            "max_connections": "300",
            "max_wal_size": "2GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            # Commits still wait for the write, if not for the disk: without it a kill -9 would lose some.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._bin / "postgres", "-D", self._seen(self._data), *given]

    def _check(self) -> None:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port("postgres"),
            user=USER,
            password=self._password(),
            dbname="postgres",
            sslmode="disable",
            connect_timeout=5,
            autocommit=True,
        ) as connection:
            made = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not made:
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())

    def _new_child(self) -> Child:
        return self._run(self._command(), self._data, self._account)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _seen(self, data: Path) -> str:
        # Under /root, closed to others, `nobody` can use a directory only by being in it from the start.
        return "/proc/self/cwd" if self._account else str(data)

    def _password(self) -> str:
        return keep_secret(self.directory / "password")
