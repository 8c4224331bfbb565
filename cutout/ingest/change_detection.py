"""What a schedule remembers of its pictures from run to run, so that only what changed is enqueued."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Connection, Engine, Text, Uuid, bindparam, text
from sqlalchemy.sql.elements import TextClause

from cutout.enums import Change
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.sources.source import Source


class Seen(NamedTuple):
    """A picture by its id, and what its source says of its present state; None if it does not."""

    external_id: str
    version: str | None


@dataclass(slots=True)
class Sighting:
    """The pictures of a chunk: those that are to be enqueued, and those that need not be."""

    enqueued: list[Seen] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


# As it was, and made of it what was to be made, or on its way, or waiting for a person: bought anew each
# night, it would cost a credit each night.
UNCHANGED = text("""
    SELECT p.external_id FROM unnest(:ids, :versions) AS now (external_id, version)
    JOIN pictures p ON p.schedule_id = :schedule AND p.external_id = now.external_id
    WHERE p.version = now.version AND p.batch_id <> :batch
    AND EXISTS (SELECT FROM jobs j WHERE j.batch_id = p.batch_id AND j.external_id = p.external_id)
    AND NOT EXISTS (
        SELECT FROM jobs j WHERE j.batch_id = p.batch_id AND j.external_id = p.external_id
        AND j.state NOT IN ('succeeded', 'queued', 'running')
        AND NOT (j.state = 'held' AND j.standing IS NULL)
    )
""")
REMEMBER = text("""
    INSERT INTO pictures AS p (schedule_id, external_id, version, batch_id, seen_in, change)
    SELECT DISTINCT ON (external_id) CAST(:schedule AS uuid), external_id, version, CAST(:batch AS uuid),
        CAST(:batch AS uuid), 'new'
    FROM unnest(:ids, :versions) AS now (external_id, version) ORDER BY external_id
    ON CONFLICT (schedule_id, external_id) DO UPDATE SET
        version = excluded.version, batch_id = excluded.batch_id, seen_in = excluded.seen_in,
        change = CASE
            WHEN p.batch_id = excluded.batch_id THEN p.change
            WHEN p.version <> excluded.version THEN 'changed'
            ELSE 'again'
        END
""")
SEE = text("""
    UPDATE pictures SET seen_in = :batch WHERE schedule_id = :schedule AND external_id = ANY(:ids)
""")
COUNT = text("SELECT count(*) FROM pictures WHERE schedule_id = :schedule")
CHANGES = text("""
    SELECT change, count(*) FROM pictures WHERE schedule_id = :schedule AND batch_id = :batch GROUP BY change
""")
STAYED = text("""
    SELECT count(*) FROM pictures WHERE schedule_id = :schedule AND seen_in = :batch AND batch_id <> :batch
""")
FORGET = text("DELETE FROM pictures WHERE schedule_id = :schedule AND seen_in <> :batch")


def _typed(statement: TextClause) -> TextClause:
    kinds: dict[str, Any] = {"ids": ARRAY(Text), "versions": ARRAY(Text), "schedule": Uuid(), "batch": Uuid()}
    names = [name for name in kinds if f":{name}" in statement.text]
    return statement.bindparams(*(bindparam(name, type_=kinds[name]) for name in names))


UNCHANGED, REMEMBER, SEE, COUNT, CHANGES, STAYED, FORGET = map(
    _typed, (UNCHANGED, REMEMBER, SEE, COUNT, CHANGES, STAYED, FORGET)
)


class Memory:
    """One run's look at the memory of its schedule."""

    def __init__(self, engine: Engine, schedule_id: uuid.UUID, batch_id: uuid.UUID) -> None:
        self._engine = engine
        self._run = {"schedule": schedule_id, "batch": batch_id}

    def unchanged(self, seen: Sequence[Seen]) -> set[str]:
        """The ids of those that need not be enqueued, by a connection of its own."""
        known = [one for one in seen if one.version is not None]
        if not known:
            return set()
        with self._engine.connect() as connection:
            return set(connection.scalars(UNCHANGED, self._run | _columns(known)))

    def remember(self, connection: Connection, sighting: Sighting) -> None:
        """Write a chunk down, in the transaction that stores its jobs."""
        if sighting.enqueued:
            connection.execute(REMEMBER, self._run | _columns(sighting.enqueued))
        if sighting.unchanged:
            connection.execute(SEE, self._run | {"ids": sighting.unchanged})

    def count(self) -> int:
        """How many pictures the last run saw."""
        with self._engine.connect() as connection:
            return connection.scalar(COUNT, {"schedule": self._run["schedule"]}) or 0

    def finish(self, connection: Connection) -> dict[str, int]:
        """Forget what this run did not see; returns how many pictures changed in each way."""
        changes = dict.fromkeys(map(str, Change), 0)
        changes |= {change: count for change, count in connection.execute(CHANGES, self._run)}  # noqa: C416
        changes["unchanged"] = connection.scalar(STAYED, self._run) or 0
        changes["vanished"] = connection.execute(FORGET, {**self._run}).rowcount
        return changes


def _columns(seen: Sequence[Seen]) -> dict[str, list[str] | list[str | None]]:
    return {"ids": [one.external_id for one in seen], "versions": [one.version for one in seen]}


COUNTED = ("files", "objects")


class ShrunkError(IngestError):
    """Too few pictures are left of those that the last run saw."""


def refuse_shrunk(open_: Callable[[], Source], memory: Memory, shrinks_to: float) -> None:
    """Raise ShrunkError if fewer than the share `shrinks_to` of the pictures are left; one with a new name
    counts as well. A manifest is read once for it, and nothing is stored.
    """
    before = memory.count() if shrinks_to else 0
    if not before:
        return
    with closing(open_()) as source:
        if source.extent.unit in COUNTED:
            now = source.extent.total
        else:
            now = sum(len(record.pictures) for record in source.records())
    if now < shrinks_to * before:
        raise ShrunkError(
            f"the source has {now:,} pictures and had {before:,} at the last run, of which at least"
            f" {shrinks_to:.0%} were to be left: nothing was enqueued or forgotten. If that is right, run the"
            " schedule with --even-if-shrunk"
        )
