"""Valkey, which speaks Redis' protocol."""

from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from local.binaries import valkey_server
from local.secret import keep_secret
from local.server import Server


class ValkeyServer(Server):
    """A Valkey server; every write is in its append-only file before it is answered."""

    name = "Valkey"
    listeners = ("redis",)
    not_ready: ClassVar[tuple[type[Exception], ...]] = (redis.ConnectionError, redis.TimeoutError)

    @property
    def redis_url(self) -> str:
        """redis://:password@127.0.0.1:port/0; known from the first start on."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port('redis')}/0"

    def _prepare(self) -> None:
        super()._prepare()
        data = self.directory / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        # A file, since the password is in it and any user may read command lines.
        settings = self.directory / "valkey.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            "bind 127.0.0.1\n"
            f"port {self.port('redis')}\n"
            f"requirepass {self._password()}\n"
            f"dir {_quoted(data)}\n"
            'save ""\n'
            "appendonly yes\n"
            f"appendfsync {'everysec' if self.durable else 'no'}\n"
            # Nothing is dropped from a queue to make room.
            "maxmemory-policy noeviction\n"
        )

    def _command(self) -> list[str | Path]:
        return [valkey_server(), self.directory / "valkey.conf"]

    def _check(self) -> None:
        with redis.Redis.from_url(self.redis_url, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            client.ping()

    def _password(self) -> str:
        return keep_secret(self.directory / "password")


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
