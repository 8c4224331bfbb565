"""Checks of what every process needs: one line each, with the next step where it fails."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from jobs.settings import Settings
from jobs.storage import Bucket, StorageError

REDIS_TIMEOUT_S = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `found` says "ok" or what is wrong, `remedy` what to do then."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def check_services(
    settings: Settings, engine: Engine, bucket: Bucket, *, pending: Callable[[Engine], bool]
) -> list[Check]:
    """Look at database, schema, Redis and bucket, in this order.

    `pending` says whether migrations are to be run: what it looks at lies outside this package.
    """
    return [
        *_check_database(engine, pending),
        _check("redis", lambda: _ping(settings), "start Redis or mend CUTOUT_REDIS_URL"),
        _check("bucket", bucket.check, "mend the CUTOUT_S3_ settings or create the bucket"),
    ]


def _check_database(engine: Engine, pending: Callable[[Engine], bool]) -> Iterator[Check]:
    reachable = _check("database", lambda: _select(engine), "start Postgres or mend CUTOUT_DATABASE_URL")
    yield reachable
    if not reachable.ok:
        yield Check("migrations", ok=False, found="not looked at, the database is away")
    elif pending(engine):
        yield Check(
            "migrations", ok=False, found="the schema is not the newest", remedy="run `cutout migrate`"
        )
    else:
        yield Check("migrations", ok=True, found="ok")


def _check(name: str, look: Callable[[], None], remedy: str) -> Check:
    try:
        look()
    except (SQLAlchemyError, redis.RedisError, StorageError) as error:
        return Check(name, ok=False, found=_first_line(error), remedy=remedy)
    return Check(name, ok=True, found="ok")


def _select(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _ping(settings: Settings) -> None:
    client = redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
    with client:
        client.ping()


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n")[0]
