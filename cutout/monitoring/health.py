"""Health checks of the services that a job needs: database, schema, Redis and bucket."""

from collections.abc import Callable, Iterator

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine, text

from cutout.monitoring.check import Check, ReadOnlyError, run_check
from cutout.monitoring.progress import check_progress
from cutout.monitoring.snapshots import check_snapshots
from cutout.settings import Settings
from cutout.storage import Bucket, StorageError

REDIS_TIMEOUT_S = 3
BUCKET_REMEDY = "fix the CUTOUT_S3_ settings or create the bucket"
VERSIONS_REMEDY = "add a lifecycle rule that removes noncurrent versions, see docs/how-to/erase-a-picture.md"


def check_services(
    settings: Settings, engine: Engine, bucket: Bucket, *, pending: Callable[[Engine], bool]
) -> Iterator[Check]:
    """Yield checks of database, schema, Redis and bucket, and of whether jobs progress, each when requested.

    `pending` says whether migrations have to be run: they are outside this package.
    """
    database = check_database(engine, pending)
    yield from database
    yield check_redis(settings)
    yield from check_bucket(bucket)
    if all(check.ok for check in database):
        yield from check_progress(engine)
        yield from check_snapshots(engine)


def check_database(engine: Engine, pending: Callable[[Engine], bool]) -> list[Check]:
    """Check the database and its schema."""
    reachable = run_check(
        "database", lambda: _require_writes(engine), "start Postgres or fix CUTOUT_DATABASE_URL"
    )
    if not reachable.ok:
        found = "not checked, the database is unreachable"
        return [reachable, Check("migrations", ok=False, found=found)]
    if pending(engine):
        found = "the schema is older than this program"
        return [reachable, Check("migrations", ok=False, found=found, remedy="run `cutout migrate`")]
    return [reachable, Check("migrations", ok=True, found="ok")]


def check_redis(settings: Settings) -> Check:
    """Check that Redis answers."""
    return run_check("redis", lambda: _ping(settings), "start Redis or fix CUTOUT_REDIS_URL")


def check_bucket(bucket: Bucket) -> list[Check]:
    """Check the bucket by writing a small object, and whether it keeps deleted objects."""
    found = run_check("bucket", bucket.check, BUCKET_REMEDY)
    return [found, *(_check_versions(bucket) if found.ok else ())]


def find_bucket(bucket: Bucket) -> Check:
    """Check that the bucket exists, without writing anything."""
    return run_check("bucket", bucket.require, BUCKET_REMEDY)


def _check_versions(bucket: Bucket) -> list[Check]:
    """Empty for a bucket without versions, or if the S3 keys may not ask."""
    try:
        if not bucket.keeps_versions():
            return []
        ends = bucket.ends_versions()
    except StorageError:
        return []
    if ends:
        found = "old versions of objects are kept until a lifecycle rule removes them"
        return [Check("versions", ok=True, found=found)]
    found = "the bucket keeps old versions forever: deleted objects stay there and cost money"
    return [Check("versions", ok=True, found=found, remedy=VERSIONS_REMEDY, needed=False)]


def _require_writes(engine: Engine) -> None:
    with engine.connect() as connection:
        if connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise ReadOnlyError("it accepts no writes: it is a replica, or was made read-only")


def open_redis(settings: Settings) -> "redis.Redis":
    """A client that tries once and waits REDIS_TIMEOUT_S for each answer, since a person waits for it."""
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _ping(settings: Settings) -> None:
    with open_redis(settings) as client:
        client.ping()
