"""Change detection of a schedule: picture versions kept from run to run, so that only changed pictures are
enqueued.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Connection, Engine, LargeBinary, Text, Uuid, bindparam, text
from sqlalchemy.sql.elements import TextClause

from cutout.enums import Change
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.progress import Counts
from cutout.ingest.sources.source import Source
from cutout.models.database import Database


class PictureVersion(NamedTuple):
    """A picture's external id and version, as its source reports it; None if the source has no version."""

    external_id: str
    version: str | None


@dataclass(slots=True)
class ChunkVersions:
    """Pictures of a chunk: those to enqueue with their versions, and the ids of those that are unchanged."""

    enqueued: list[PictureVersion] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


class SameSource(NamedTuple):
    """The numbers of a run whose source is as the last run saw it."""

    counts: Counts
    changes: dict[str, int]


UNCHANGED, VANISHED = "unchanged", "vanished"
SEPARATOR = "\x1f"
# Unchanged: same version, and its last jobs succeeded, are under way or wait for a person. Bought again each
# night, such a picture would cost a credit each night. A deleted job no longer has its external id.
_STAYS = """(
        p.had_succeeded
        OR EXISTS (SELECT FROM jobs j WHERE j.batch_id = p.batch_id AND j.external_id = p.external_id)
    )
    AND NOT EXISTS (
        SELECT FROM jobs j WHERE j.batch_id = p.batch_id AND j.external_id = p.external_id
        AND j.state NOT IN ('succeeded', 'queued', 'running')
        AND NOT (j.state = 'held' AND j.queue_state IS NULL)
    )"""
FIND_UNCHANGED = text(f"""
    SELECT p.external_id FROM unnest(
        string_to_array(:ids, E'\\x1f'), string_to_array(:versions, E'\\x1f')
    ) AS now (external_id, version)
    JOIN pictures p ON p.schedule_id = :schedule AND p.external_id = now.external_id
    WHERE p.version = now.version AND p.batch_id <> :batch
    AND {_STAYS}
""")  # noqa: S608 - our words
# All rows are of the last run that read the source whole, and of each of its pictures one: no run that ended
# in the middle came after it.
FIND_SAME = text(f"""
    SELECT i.records, i.pictures, seen.number FROM ingests i, LATERAL (
        SELECT sum(n::bigint) AS number FROM jsonb_each_text(i.changes - 'vanished') AS changes (kind, n)
    ) AS seen
    WHERE i.batch_id = (SELECT seen_in FROM pictures WHERE schedule_id = :schedule LIMIT 1)
    AND i.identity = :identity AND i.finished_at IS NOT NULL AND i.error IS NULL
    AND i.rejects = 0 AND i.duplicates = 0
    AND seen.number = (SELECT count(*) FROM pictures WHERE schedule_id = :schedule)
    AND NOT EXISTS (
        SELECT FROM pictures p WHERE p.schedule_id = :schedule
        AND NOT coalesce(p.seen_in = i.batch_id AND p.version IS NOT NULL AND {_STAYS}, false)
    )
""")  # noqa: S608 - our words
SAVE_VERSIONS = text("""
    INSERT INTO pictures AS p (schedule_id, external_id, version, batch_id, seen_in, change)
    SELECT DISTINCT ON (external_id) CAST(:schedule AS uuid), external_id, version, CAST(:batch AS uuid),
        CAST(:batch AS uuid), 'new'
    FROM unnest(:ids, :versions) AS now (external_id, version) ORDER BY external_id
    ON CONFLICT (schedule_id, external_id) DO UPDATE SET
        version = excluded.version, batch_id = excluded.batch_id, seen_in = excluded.seen_in,
        had_succeeded = false, change = CASE
            WHEN p.batch_id = excluded.batch_id THEN p.change
            WHEN p.version <> excluded.version THEN 'changed'
            ELSE 'again'
        END
""")
MARK_SEEN = text("""
    UPDATE pictures SET seen_in = :batch
    WHERE schedule_id = :schedule AND external_id = ANY(string_to_array(:ids, E'\\x1f'))
""")
KEEP_OUTCOMES = text("""
    UPDATE pictures p SET
        version = CASE WHEN ended.had_succeeded THEN p.version END,
        had_succeeded = p.had_succeeded OR ended.had_succeeded
    FROM runs, (
        SELECT external_id, bool_and(state = 'succeeded') AS had_succeeded FROM jobs
        WHERE id = ANY(:jobs) AND batch_id = :batch AND external_id IS NOT NULL GROUP BY external_id
    ) AS ended
    WHERE runs.batch_id = :batch AND p.schedule_id = runs.schedule_id AND p.batch_id = :batch
    AND p.external_id = ended.external_id
""").bindparams(bindparam("batch", type_=Uuid), bindparam("jobs", type_=ARRAY(Uuid)))
# A run and a deletion change many of a schedule's rows, each in an order of its own.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('pictures of ' || CAST({} AS text), 0))"
LOCK_PICTURES = text(_LOCK.format(":schedule"))
LOCK_PICTURES_OF_RUN = text(f"{_LOCK.format('schedule_id')} FROM runs WHERE batch_id = :batch").bindparams(
    bindparam("batch", type_=Uuid)
)
COUNT_SEEN = text("SELECT count(*) FROM pictures WHERE schedule_id = :schedule")
COUNT_CHANGES = text("""
    SELECT change, count(*) FROM pictures WHERE schedule_id = :schedule AND batch_id = :batch GROUP BY change
""")
COUNT_UNCHANGED = text("""
    SELECT count(*) FROM pictures WHERE schedule_id = :schedule AND seen_in = :batch AND batch_id <> :batch
""")
DELETE_UNSEEN = text("DELETE FROM pictures WHERE schedule_id = :schedule AND seen_in <> :batch")


def _typed(statement: TextClause) -> TextClause:
    array = Text() if "string_to_array" in statement.text else ARRAY(Text)
    kinds: dict[str, Any] = {
        "ids": array,
        "versions": array,
        "schedule": Uuid(),
        "batch": Uuid(),
        "identity": LargeBinary(),
    }
    names = [name for name in kinds if f":{name}" in statement.text]
    return statement.bindparams(*(bindparam(name, type_=kinds[name]) for name in names))


(
    FIND_SAME,
    FIND_UNCHANGED,
    LOCK_PICTURES,
    SAVE_VERSIONS,
    MARK_SEEN,
    COUNT_SEEN,
    COUNT_CHANGES,
    COUNT_UNCHANGED,
    DELETE_UNSEEN,
) = map(
    _typed,
    (
        FIND_SAME,
        FIND_UNCHANGED,
        LOCK_PICTURES,
        SAVE_VERSIONS,
        MARK_SEEN,
        COUNT_SEEN,
        COUNT_CHANGES,
        COUNT_UNCHANGED,
        DELETE_UNSEEN,
    ),
)


class ChangeDetection:
    """The picture versions of one schedule, read and written by one run."""

    def __init__(self, engine: Engine, schedule_id: uuid.UUID, batch_id: uuid.UUID) -> None:
        self._engine = engine
        self._run = {"schedule": schedule_id, "batch": batch_id}

    def find_same(self, connection: Connection, identity: bytes) -> SameSource | None:
        """Return the numbers of a run that need not read its source; None if it must.

        The source is the one that the last run read whole, and every picture of it is unchanged. Holds the
        lock until the caller's transaction ends, so that nothing changes before the run has.
        """
        self._lock(connection)
        last = connection.execute(
            FIND_SAME, {"schedule": self._run["schedule"], "identity": identity}
        ).first()
        if last is None:
            return None
        counts = Counts(last.records, last.pictures, unchanged=last.pictures)
        return SameSource(counts, {**_no_changes(), UNCHANGED: int(last.number)})

    def unchanged(self, seen: Sequence[PictureVersion]) -> set[str]:
        """Return the ids that need not be enqueued. Uses a connection of its own."""
        versioned = [one for one in seen if one.version is not None and SEPARATOR not in one.version]
        if not versioned:
            return set()
        with self._engine.connect() as connection:
            ids = _joined([one.external_id for one in versioned])
            versions = _joined([one.version or "" for one in versioned])
            return set(connection.scalars(FIND_UNCHANGED, self._run | {"ids": ids, "versions": versions}))

    def save(self, connection: Connection, versions: ChunkVersions) -> None:
        """Record the versions of a chunk, in the transaction that stores its jobs."""
        self._lock(connection)
        if versions.enqueued:
            connection.execute(SAVE_VERSIONS, self._run | _columns(versions.enqueued))
        if versions.unchanged:
            connection.execute(MARK_SEEN, self._run | {"ids": _joined(versions.unchanged)})

    def count(self) -> int:
        """Number of pictures that the last run saw."""
        with self._engine.connect() as connection:
            return connection.scalar(COUNT_SEEN, {"schedule": self._run["schedule"]}) or 0

    def finish(self, connection: Connection) -> dict[str, int]:
        """Delete pictures that this run did not see; return the number of pictures per kind of change."""
        self._lock(connection)
        changes = _no_changes()
        changes |= {change: count for change, count in connection.execute(COUNT_CHANGES, self._run)}  # noqa: C416
        changes[UNCHANGED] = connection.scalar(COUNT_UNCHANGED, self._run) or 0
        changes[VANISHED] = connection.execute(DELETE_UNSEEN, {**self._run}).rowcount
        return changes

    def _lock(self, connection: Connection) -> None:
        connection.execute(LOCK_PICTURES, {"schedule": self._run["schedule"]})


def _no_changes() -> dict[str, int]:
    return {**dict.fromkeys(map(str, Change), 0), UNCHANGED: 0, VANISHED: 0}


def keep_outcomes(database: Database, batch_id: uuid.UUID, job_ids: Sequence[uuid.UUID]) -> None:
    """Keep for the next run of a schedule how these jobs of its run's batch ended.

    Pictures whose jobs succeeded are not enqueued again; the others are. To be called in the transaction that
    deletes the jobs, before their rows are emptied.
    """
    database.execute(LOCK_PICTURES_OF_RUN, {"batch": batch_id})
    database.execute(KEEP_OUTCOMES, {"batch": batch_id, "jobs": list(job_ids)})


def _joined(texts: Sequence[str]) -> str:
    """Join texts for string_to_array, which costs a tenth of the CPU of an array. No id has a control
    character.
    """
    return SEPARATOR.join(texts)


def _columns(seen: Sequence[PictureVersion]) -> dict[str, list[str] | list[str | None]]:
    return {"ids": [one.external_id for one in seen], "versions": [one.version for one in seen]}


# Units in which a source is counted before it is read.
COUNTED = ("files", "objects")


class ShrunkError(IngestError):
    """Too few pictures are left of those that the last run saw."""


def refuse_shrunk(source: Source, detection: ChangeDetection, min_source_share: float) -> None:
    """Raise ShrunkError if the source has fewer than `min_source_share` (0 to 1) of the last run's pictures.

    Pictures with new names count too. The rows of a manifest are read once for this; nothing is stored.
    """
    before = detection.count() if min_source_share else 0
    if not before:
        return
    if source.extent.unit in COUNTED:
        now = source.extent.total
    else:
        now = sum(len(record.pictures) for record in source.records())
    if now < min_source_share * before:
        raise ShrunkError(
            f"the source has {now:,} pictures and had {before:,} at the last run, below the"
            f" minimum share of {min_source_share:.0%}: nothing was enqueued or deleted. If that is right,"
            " run the schedule with --accept-shrunk"
        )
