"""External ids for several pictures of one product, and conflicts of generated ids.

The number of a picture depends on all rows of its product, which may be anywhere in the source. A first
reading therefore copies all ids into temporary tables of a database session, so memory use here does not grow
with them. The same source gives the same ids, wherever an earlier reading stopped.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, cast

import psycopg
from sqlalchemy import Connection, Engine, text

from cutout.enums import ReturnForm
from cutout.ingest.rejects import ID_COLUMN, reject_generated_id
from cutout.ingest.sources.source import IdNumbering, Source
from cutout.manifests import Picture, Record, Reject
from cutout.manifests.field_rules import LONGEST_EXTERNAL_ID
from cutout.manifests.records import reject

ROWS_A_COPY = 10_000
ROWS_A_PAGE = 10_000
KEPT_IN_MEMORY = 1_048_576

TABLE = """
    CREATE TEMPORARY TABLE named_pictures (
        k bigint, line bigint, external_id text, form text, source text, position bigint, made boolean
    )
"""
COPY = "COPY named_pictures FROM STDIN"
# Numbered by position where there is one, else by URL; one URL is one picture.
NUMBERED = """
    WITH sources AS (
        SELECT external_id, source, min(position) AS position FROM named_pictures GROUP BY external_id, source
    ), ranked AS (
        SELECT external_id, source, row_number() OVER (
            PARTITION BY external_id ORDER BY position NULLS LAST, source COLLATE "C"
        ) AS number FROM sources
    ), final AS (
        SELECT k, line, form, source, external_id AS given, made OR number > 1 AS made,
            CASE WHEN number > 1 THEN external_id || '-' || number ELSE external_id END AS external_id
        FROM named_pictures JOIN ranked USING (external_id, source)
    ), """
UNNUMBERED = """
    WITH final AS (
        SELECT k, line, form, source, external_id AS given, made, external_id FROM named_pictures
    ), """
ONE_FORM = "named AS (SELECT * FROM final), "
# A row without a form has the defaults, which may be any form: it meets every other form of its id.
SEVERAL_FORMS = """
    forms AS (SELECT DISTINCT external_id, form FROM final),
    named AS (
        SELECT line, forms.form, source, made, external_id FROM final JOIN forms USING (external_id)
        WHERE final.form = forms.form OR final.form = '' OR forms.form = ''
    ), """
RENAMED = """
    by_source AS (
        SELECT external_id, form, source, min(line) AS line, bool_or(made) AS made
        FROM named GROUP BY external_id, form, source
    ), conflicting AS (
        SELECT external_id, form, (array_agg(line ORDER BY line))[1:2] AS lines
        FROM by_source GROUP BY external_id, form HAVING count(*) > 1 AND bool_or(made)
    )
    SELECT k, final.external_id, lines[1] AS first_line, lines[2] AS second_line
    FROM final LEFT JOIN conflicting c ON c.external_id = final.external_id AND c.form = final.form
    WHERE final.external_id <> given OR lines IS NOT NULL
"""
PAGE = text("""
    SELECT k, external_id, first_line, second_line FROM renamed WHERE k > :after ORDER BY k LIMIT :most
""")


@dataclass(frozen=True, slots=True)
class _Renamed:
    external_id: str
    lines: tuple[int, int] | None


class FinalIds:
    """Final ids that differ from the rows' ids, by the number of the picture within the source."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lines(self) -> Iterator[bytes]:
        """Yield all of them, a line each, for `SpooledFinalIds`."""
        for k, renamed in self._renamed():
            yield json.dumps([k, renamed.external_id, renamed.lines]).encode() + b"\n"

    def of(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the source's records, each picture under its final id or rejected."""
        renamed = self._renamed()
        upcoming = next(renamed, None)
        number = 0
        for record in records:
            first, number = number, number + len(record.pictures)
            changes: dict[int, _Renamed] = {}
            while upcoming and upcoming[0] < number:
                changes[upcoming[0] - first] = upcoming[1]
                upcoming = next(renamed, None)
            yield _with_final_ids(record, changes) if changes else record

    def _renamed(self) -> Iterator[tuple[int, _Renamed]]:
        after = -1
        while True:
            page = self._connection.execute(PAGE, {"after": after, "most": ROWS_A_PAGE}).all()
            self._connection.commit()
            for k, external_id, first, second in page:
                yield k, _Renamed(external_id, None if first is None else (first, second))
            if len(page) < ROWS_A_PAGE:
                return
            after = page[-1].k


class SpooledFinalIds(FinalIds):
    """Final ids read from a file of `FinalIds.lines`; no connection is held."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def _renamed(self) -> Iterator[tuple[int, _Renamed]]:
        self._file.seek(0)
        for line in self._file:
            k, external_id, lines = json.loads(line)
            yield k, _Renamed(external_id, tuple(lines) if lines else None)


@contextmanager
def records_with_final_ids(engine: Engine, source: Source) -> Iterator[Iterator[Record]]:
    """Yield the source's records under their final ids. Raises what reading the source raises."""
    if source.numbering is None:
        yield source.records()
        return
    with assign_final_ids(engine, source.records(), source.numbering) as names:
        yield names.of(source.records())


@contextmanager
def assign_final_ids(engine: Engine, records: Iterable[Record], numbering: IdNumbering) -> Iterator[FinalIds]:
    """Read all ids of a source and compute the final ones. Raises what reading the records raises."""
    with engine.connect() as connection:
        # A pooled connection may have created the table before.
        connection.execute(text("DISCARD TEMP"))
        connection.execute(text(TABLE))
        connection.commit()
        forms: set[ReturnForm | None] = set()
        lines = _copy_rows(records, forms)
        while block := "".join(islice(lines, ROWS_A_COPY)):
            _copy(connection, block)
        final = NUMBERED if numbering.many else UNNUMBERED
        named = SEVERAL_FORMS if len(forms) > 1 else ONE_FORM
        connection.execute(text(f"CREATE TEMPORARY TABLE renamed AS {final}{named}{RENAMED}"))
        connection.execute(text("CREATE INDEX ON renamed (k)"))
        connection.execute(text("DROP TABLE named_pictures"))
        connection.commit()
        try:
            yield FinalIds(connection)
        finally:
            connection.rollback()
            connection.execute(text("DISCARD TEMP"))
            connection.commit()


@contextmanager
def spooled_final_ids(
    engine: Engine, records: Iterable[Record], numbering: IdNumbering
) -> Iterator[SpooledFinalIds]:
    """Compute the final ids for a slow reader: kept on disk, so that no connection is held meanwhile."""
    with SpooledTemporaryFile(KEPT_IN_MEMORY) as file:
        with assign_final_ids(engine, records, numbering) as names:
            file.writelines(names.lines())
        yield SpooledFinalIds(file)


def _copy_rows(records: Iterable[Record], forms: set[ReturnForm | None]) -> Iterator[str]:
    """Yield a row for each picture, and add its form to `forms`."""
    k = 0
    for record in records:
        for picture in record.pictures:
            forms.add(picture.return_form)
            yield _copy_row(k, record.line, picture)
            k += 1


def _copy_row(k: int, line: int, picture: Picture) -> str:
    external_id, source = (text.replace("\\", "\\\\") for text in (picture.external_id, picture.source))
    position = "\\N" if picture.position is None else picture.position
    made = "t" if picture.made else "f"
    return f"{k}\t{line}\t{external_id}\t{picture.return_form or ''}\t{source}\t{position}\t{made}\n"


def _copy(connection: Connection, lines: str) -> None:
    raw = cast("psycopg.Connection", connection.connection.driver_connection)
    with raw.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(lines)
    connection.commit()


def _with_final_ids(record: Record, changes: dict[int, _Renamed]) -> Record:
    pictures: list[Picture] = []
    rejects: list[Reject] = []
    for index, picture in enumerate(record.pictures):
        renamed = changes.get(index)
        if renamed is None:
            pictures.append(picture)
        elif renamed.lines:
            rejects.append(reject_generated_id(record.line, renamed.external_id, renamed.lines))
        elif len(renamed.external_id) > LONGEST_EXTERNAL_ID:
            rejects.append(
                reject(
                    record.line,
                    ID_COLUMN,
                    renamed.external_id,
                    f"has {len(renamed.external_id)} characters with its number; use 1 to"
                    f" {LONGEST_EXTERNAL_ID}",
                )
            )
        else:
            pictures.append(replace(picture, external_id=renamed.external_id))
    return replace(record, pictures=tuple(pictures), rejects=(*record.rejects, *rejects), named=True)
