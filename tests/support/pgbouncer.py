"""PgBouncer in transaction mode before a database, and a system whose API and workers go through it."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from tests.support.debian import debian_program
from tests.support.forked import Forked
from tests.support.ports import free_port
from tests.support.system import System, wait_until

# It refuses to run as root.
AS_USER = () if os.geteuid() else ("--user", "nobody")

# As docs/operate/deploy.md has it.
CONFIGURATION = """
[databases]
{name} = host={host} port={port} dbname={name} connect_query='SET lock_timeout = ''2s'''
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
ignore_startup_parameters = options
max_client_conn = 500
default_pool_size = 4
"""


@contextmanager
def pgbouncer(database_url: str) -> Iterator[str]:
    """The address of the database through a PgBouncer with fewer connections than clients.

    Without the program a test fails in CI, and is skipped elsewhere.
    """
    program = debian_program("pgbouncer", "pgbouncer")
    url = make_url(database_url)
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        directory.chmod(0o755)
        listen = free_port()
        configuration = _write(directory, url, listen)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, *AS_USER, str(configuration)], stdout=log, stderr=log)
        try:
            wait_until(lambda: _listens(listen), "PgBouncer")
            yield url.set(host="127.0.0.1", port=listen, query={}).render_as_string(hide_password=False)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _write(directory: Path, url: URL, listen: int) -> Path:
    users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
    users.write_text(f'"{url.username}" "{url.password}"\n')
    configuration.write_text(
        CONFIGURATION.format(
            name=url.database, host=url.host, port=url.port or 5432, listen=listen, users=users
        )
    )
    return configuration


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class PooledSystem(System):
    """All but the dispatcher, whose lock is of a session, and the test itself go through the pooler."""

    pooled_url = ""

    def start(self, name: str, *command: str) -> Forked:
        direct = self.environment
        if command[0] != "dispatcher":
            self.environment = direct | {"CUTOUT_DATABASE_URL": self.pooled_url}
        try:
            return super().start(name, *command)
        finally:
            self.environment = direct
