"""Checks of what a job needs: one line each, with the next step where it fails."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import Stop
from cutout.models import Account, Breaker, Limit, QueueClock
from cutout.models.database import Database, is_away
from cutout.queue.blocks.isolated_workers import cut_off_workers
from cutout.queue.leader import leader_exists
from cutout.queue.reuse import missing_results
from cutout.queue.workers import heard_lately
from cutout.schedules.lateness import Finding, late_runs, schedules_exist
from cutout.settings import Settings
from cutout.status.explain import SEE_TO_MISSING, SEE_TO_RESULTS, Installation
from cutout.storage import Bucket, StorageError

REDIS_TIMEOUT_S = 3
OPEN_BREAKERS = select(Breaker.kind, Breaker.reason).where(Breaker.opened_at.is_not(None))


class ReadOnlyError(Exception):
    """Postgres answers and takes no writes."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: `found` says "ok" or what is wrong, `remedy` what to do then.

    `needed` for a job to be taken; without the rest jobs only wait. `cause` is the error, if one said so.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True
    cause: Exception | None = None


def check_services(
    settings: Settings, engine: Engine, bucket: Bucket, *, pending: Callable[[Engine], bool]
) -> Iterator[Check]:
    """Checks of database, schema, Redis, bucket, and whether jobs move, each made when it is asked for.

    `pending` says whether migrations are to be run: what it looks at lies outside this package.
    """
    database = check_database(engine, pending)
    yield from database
    yield check_redis(settings)
    yield from check_bucket(bucket)
    if all(check.ok for check in database):
        yield from check_moving(engine)
        yield from check_snapshots(engine)


def check_snapshots(engine: Engine) -> list[Check]:
    """A snapshot that has been held for long; nothing if none has."""
    with engine.connect() as connection:
        oldest = oldest_snapshot(connection)
    if oldest is None or oldest.age_s < LONG.total_seconds():
        return []
    minutes = oldest.age_s / 60
    found = (
        f"session {oldest.pid} ({oldest.application}) has held a snapshot for {minutes:,.0f} minutes:"
        " Postgres cleans nothing up, and statements grow slower"
    )
    remedy = "let it end, or end it by pg_terminate_backend; see docs/operate/outages.md"
    return [Check("snapshots", ok=False, found=found, remedy=remedy, needed=False)]


def check_database(engine: Engine, pending: Callable[[Engine], bool]) -> list[Check]:
    """Database and schema."""
    reachable = _check("database", lambda: _select(engine), "start Postgres or mend CUTOUT_DATABASE_URL")
    if not reachable.ok:
        return [reachable, Check("migrations", ok=False, found="not looked at, the database is away")]
    if pending(engine):
        found = "the schema is older than this program"
        return [reachable, Check("migrations", ok=False, found=found, remedy="run `cutout migrate`")]
    return [reachable, Check("migrations", ok=True, found="ok")]


def check_redis(settings: Settings) -> Check:
    """Redis."""
    return _check("redis", lambda: _ping(settings), "start Redis or mend CUTOUT_REDIS_URL")


SEE_TO_BUCKET = "mend the CUTOUT_S3_ settings or create the bucket"
END_VERSIONS = "add a lifecycle rule that ends noncurrent versions, see docs/how-to/erase-a-picture.md"


def check_bucket(bucket: Bucket) -> list[Check]:
    """The bucket, by a small object, and whether it keeps what is deleted."""
    found = _check("bucket", bucket.check, SEE_TO_BUCKET)
    return [found, *(_check_versions(bucket) if found.ok else ())]


def find_bucket(bucket: Bucket) -> Check:
    """The bucket, without writing anything."""
    return _check("bucket", bucket.require, SEE_TO_BUCKET)


def _check_versions(bucket: Bucket) -> list[Check]:
    """Nothing of a bucket that keeps no versions, or whose keys may not ask."""
    try:
        if not bucket.keeps_versions():
            return []
        ends = bucket.ends_versions()
    except StorageError:
        return []
    if ends:
        return [Check("versions", ok=True, found="old versions of objects are kept until a rule ends them")]
    found = "the bucket keeps old versions for ever: what is deleted stays there, and is paid for"
    return [Check("versions", ok=True, found=found, remedy=END_VERSIONS, needed=False)]


def check_moving(engine: Engine) -> list[Check]:
    """Whether jobs that are taken are carried out: dispatcher, worker, and whether calls may go out."""
    with engine.connect() as connection:
        return [
            _moving(
                "dispatcher",
                None if leader_exists(connection) else "none leads, so nothing is handed out",
                "start `cutout dispatcher`",
            ),
            _moving("worker", *_what_ails_workers(connection)),
            _moving("calls", *_what_stops_calls(connection)),
            _moving("cutouts", *_what_is_missing(connection)),
        ]


def _moving(name: str, wrong: str | None, remedy: str) -> Check:
    return Check(name, ok=wrong is None, found=wrong or "ok", remedy=remedy if wrong else "", needed=False)


def _what_stops_calls(database: Database) -> tuple[str | None, str]:
    if database.scalar(select(QueueClock.paused_at)) is not None:
        return "all calls are paused by hand", "`cutout resume` lets them go on"
    breakers = {row.kind: row for row in database.execute(OPEN_BREAKERS)}
    if Stop.BUCKET in breakers:
        return "the bucket does not take cutouts", "mend the bucket; calls go on by themselves"
    if Stop.RESULTS in breakers:
        return "paid results cannot be fetched", f"{SEE_TO_RESULTS} ({breakers[Stop.RESULTS].reason})"
    if Stop.BACKLOG in breakers:
        return "too many paid results wait for their copy", f"see why: {breakers[Stop.BACKLOG].reason}"
    accounts, paused = database.execute(select(func.count(), func.count(Account.paused_at))).one()
    if accounts and accounts == paused:
        codes = sorted({str(code) for code in database.scalars(select(Account.pause_code))})
        return f"every account is paused: {', '.join(codes)}", "see `cutout limits`"
    limits = database.execute(
        select(func.count(), func.count().filter(circuit_is_open(Limit)))
        .join(Account, Account.name == Limit.account)
        .where(Account.paused_at.is_(None))
    ).one()
    if limits[0] and limits[0] == limits[1]:
        return (
            "the endpoint fails for all jobs",
            "see `cutout limits`; it is tried again by itself",
        )
    return None, ""


def _what_is_missing(database: Database) -> tuple[str | None, str]:
    found = missing_results.read_missing(database)
    if not found.stopped:
        return None, ""
    return f"the bucket lacks {found.cutouts:,} that were bought and are asked for", SEE_TO_MISSING


def _what_ails_workers(database: Database) -> tuple[str | None, str]:
    if not heard_lately(database):
        return "none was heard within the last minute", "start `cutout worker`"
    away = cut_off_workers(database)
    if away:
        named = "; ".join(f"{worker.pid} on {worker.host}: {worker.reason}" for worker in away)
        return (
            f"{len(away)} do not reach the bucket and make no calls",
            f"see to the network of {named}",
        )
    return None, ""


def _check(name: str, look: Callable[[], None], remedy: str) -> Check:
    try:
        look()
    except (SQLAlchemyError, ReadOnlyError, redis.RedisError, StorageError) as error:
        return Check(name, ok=False, found=_first_line(error), remedy=remedy, cause=error)
    return Check(name, ok=True, found="ok")


def _select(engine: Engine) -> None:
    with engine.connect() as connection:
        if connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise ReadOnlyError("it takes no writes: a replica answers, or it was made read-only")


def open_redis(settings: Settings) -> "redis.Redis":
    """A client that asks once and waits REDIS_TIMEOUT_S for each answer: somebody waits at a terminal."""
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _ping(settings: Settings) -> None:
    with open_redis(settings) as client:
        client.ping()


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().split("\n")[0]


NAME = "schedules"


def check_schedules(settings: Settings, engine: Engine) -> list[Check]:
    """One check for each schedule that is late, or one that says that none is; none without schedules.

    A database that does not answer, or has no such tables, is another check's to report.
    """
    try:
        found = _look(settings, engine)
    except DBAPIError as error:
        if is_away(error) or isinstance(error, ProgrammingError):
            return []
        raise
    return [_late(finding.text, finding.remedy) for finding in found or ()] or _well(found)


def count_late(settings: Settings, engine: Engine) -> list[Check]:
    """The same as one check without any name: whoever asks has perhaps shown no key."""
    found = _look(settings, engine)
    if not found:
        return _well(found)
    return [_late(f"{len(found)} late or about to be; see `cutout doctor`", "run `cutout doctor`")]


def _look(settings: Settings, engine: Engine) -> list[Finding] | None:
    """What is late, or None without any schedule."""
    with Session(engine) as session:
        return late_runs(session, Installation.of(settings)) if schedules_exist(session) else None


def _well(found: list[Finding] | None) -> list[Check]:
    return [] if found is None else [Check(NAME, ok=True, found="ok", needed=False)]


def _late(text: str, remedy: str) -> Check:
    return Check(NAME, ok=False, found=text, remedy=remedy, needed=False)


LONG = timedelta(minutes=10)

# A role that may not see others' sessions sees no times there, and only its own. What a standby keeps by its
# feedback has the age of transactions, not a time.
OLDEST = text("""
    SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s, pid, application_name
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
        AND (datname = current_database() OR backend_type = 'walsender')
    ORDER BY xact_start LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Held for so many seconds, by which session."""

    age_s: float
    pid: int
    application: str


def oldest_snapshot(database: Database) -> Snapshot | None:
    """The oldest one beside the caller's own, if there is any."""
    row = database.execute(OLDEST).first()
    return None if row is None else Snapshot(row.age_s, row.pid, row.application_name or "")
