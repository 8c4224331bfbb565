"""Estimate of the jobs and the cost of a source or of a planned batch.

A source is read without storing anything. Its rows pass through temporary tables of the database session, so
memory use here does not grow with them: one row of three numbers per job, one of one number per picture to
buy.
"""

import random
import re
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, text, update

from cutout.enums import ReturnForm
from cutout.ingest.bulk_insert import prepare, stage
from cutout.ingest.chunks import Chunk, ChunkReader
from cutout.ingest.numbered_ids import records_with_final_ids
from cutout.ingest.options import IngestOptions
from cutout.ingest.progress import Counts, Progress, Watch
from cutout.ingest.rejects import Conflict, conflict_rejects
from cutout.ingest.sources.contents import Hash
from cutout.ingest.sources.source import Source
from cutout.manifests import Reject
from cutout.models import INGESTS
from cutout.queue.outputs.backlog import expect
from cutout.queue.reuse.identity import Recipe
from cutout.storage import Bucket

HASHES_AT_ONCE = 2
MOST_REASONS = 20
OTHER_REASONS = "for other reasons"
# Reasons that differ only in a quoted value or a position count as one.
POSITION = re.compile(r" at position [0-9]+")
VALUE = re.compile(r"'(?:[^'\\]|\\.)*'")

MOST_SAMPLED = 50

# Requires a relation `matched` in the statement. Random order, so that any row may be taken.
SAMPLE = f"""
    SELECT key, sha256, size_bytes FROM matched WHERE bought ORDER BY random() LIMIT {MOST_SAMPLED}
"""  # noqa: S608 - made of the constant above

SEEN = (
    "CREATE TEMPORARY TABLE seen_jobs (hash bigint PRIMARY KEY, named bigint, line bigint)",
    "CREATE TEMPORARY TABLE seen_pictures (hash bigint PRIMARY KEY)",
)
JOB = "hashtextextended(return_form || ' ' || external_id, 0)"
NAMED = "hashtextextended(coalesce(manifest_source, source), 0)"
# The form that a call would ask for.
BOUGHT_FORM = f"CASE WHEN :derived THEN '{ReturnForm.RGBA}' ELSE return_form END"
PICTURE = f"hashtextextended({BOUGHT_FORM} || ' ' || source, 0)"
# A picture is identified by its bytes, or by what its URL held when it was last fetched.
CONTENT = """
    coalesce(source_sha256, (
        SELECT content_sha256 FROM sources
        WHERE address_sha256 = sha256(convert_to(staged_jobs.source, 'UTF8'))
    ))
"""
COUNT = f"""
    WITH new AS (
        INSERT INTO seen_jobs SELECT {JOB}, {NAMED}, manifest_line FROM staged_jobs ORDER BY n
        ON CONFLICT DO NOTHING RETURNING hash
    ), jobs AS (
        SELECT DISTINCT ON (hash) {PICTURE} AS picture, {BOUGHT_FORM} AS bought_form, {CONTENT} AS content
        FROM staged_jobs JOIN new ON hash = {JOB} ORDER BY hash, n
    ), matched AS (
        SELECT picture, r.key IS NOT NULL AS bought, r.key, r.sha256, r.size_bytes
        FROM jobs LEFT JOIN bought_results r
        ON :reuse AND r.source_sha256 = content AND r.bought_form = jobs.bought_form AND r.key IS NOT NULL
            AND r.endpoint = :endpoint AND r.preparation = :preparation AND r.bucket = :bucket
            AND r.scope = :scope
    ), wanted AS (
        INSERT INTO seen_pictures SELECT picture FROM matched WHERE NOT bought
        ON CONFLICT DO NOTHING RETURNING hash
    )
    SELECT count(*) AS jobs, count(*) FILTER (WHERE bought) AS bought,
        (SELECT count(*) FROM wanted) AS calls,
        (
            SELECT json_agg(json_build_array(key, encode(sha256, 'hex'), size_bytes)) FROM ({SAMPLE}) s
        ) AS sample
    FROM matched
"""  # noqa: S608 - made of the constants above

CONFLICTS = f"""
    SELECT manifest_line, external_id, line FROM staged_jobs JOIN seen_jobs ON hash = {JOB}
    WHERE named <> {NAMED} ORDER BY n
"""  # noqa: S608 - made of the constants above


@dataclass(frozen=True, slots=True)
class Sampled:
    """A bought cutout, as it was stored."""

    key: str
    sha256: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Number of cutouts checked in the bucket, and of those missing or different there."""

    checked: int = 0
    missing: int = 0

    def missing_of(self, bought: int) -> int:
        """Estimate how many of `bought` cutouts are missing; at least as many as the sample found."""
        return max(round(bought * self.missing / self.checked), self.missing) if self.checked else 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected result of ingesting a source.

    `bought` jobs have a result already, `same_picture` jobs wait for another job of the source, `calls` cost
    a credit each. `reasons` counts the rejects by reason, `skipped` lists the files that are not taken.
    `sample` reports how many of the bought cutouts are still in the bucket.
    """

    counts: Counts = field(default_factory=Counts)
    bought: int = 0
    same_picture: int = 0
    calls: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    sample: Sample = field(default_factory=Sample)


def estimate(
    engine: Engine,
    bucket: Bucket,
    source: Source,
    options: IngestOptions,
    recipe: Recipe | None,
    *,
    on_reject: Callable[[Reject], None],
    watch: Watch,
) -> Estimate:
    """Read the whole source and store nothing; local files are hashed, bought cutouts are sampled in the
    bucket.

    `recipe` identifies the results that may be reused; None turns reuse off.

    Raises IngestError, ManifestError or StorageError if the source cannot be read further.
    """
    options.check_columns(source)
    reasons: Counter[str] = Counter()

    def reject(rejected: Reject) -> None:
        on_reject(rejected)
        reason = VALUE.sub("…", POSITION.sub("", rejected.reason)).partition(";")[0].partition(":")[0]
        is_listed = reason in reasons or len(reasons) < MOST_REASONS
        reasons[reason if is_listed else OTHER_REASONS] += 1

    found, sampled = Estimate(reasons=reasons), list[Sampled]()
    with engine.connect() as connection, ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
        prepare(connection)
        for statement in SEEN:
            connection.execute(text(statement))
        connection.commit()
        with records_with_final_ids(engine, source) as records:
            reader = ChunkReader(source, options.defaults, Hash(bucket.name), pool, reject, records=records)
            while chunk := reader.read():
                found, conflicts, more = _add_chunk(
                    connection, found, chunk, recipe=recipe, derived=options.outputs.derived
                )
                for rejected in conflict_rejects(conflicts):
                    reject(rejected)
                sampled = _thinned([*sampled, *more])
                watch(Progress(found.counts, source.position(), source.extent, source.skipped.total))
    found = replace(found, skipped=source.skipped.as_json(), remarks=source.remarks())
    return replace(found, sample=check_sample(bucket, sampled))


def _thinned(sampled: list[Sampled]) -> list[Sampled]:
    return random.sample(sampled, min(len(sampled), MOST_SAMPLED))


def _add_chunk(
    connection: Connection, found: Estimate, chunk: Chunk, *, recipe: Recipe | None, derived: bool
) -> tuple[Estimate, list[Conflict], list[Sampled]]:
    jobs = bought = calls = 0
    conflicts: list[Conflict] = []
    sample: list[Sampled] = []
    if chunk.lines:
        with connection.begin():
            stage(connection, chunk)
            jobs, bought, calls, rows = connection.execute(
                text(COUNT), as_parameters(recipe) | {"derived": derived}
            ).one()
            sample = [Sampled(key, bytes.fromhex(sha256), size) for key, sha256, size in rows or ()]
            if jobs < len(chunk.lines):
                conflicts = [Conflict._make(row) for row in connection.execute(text(CONFLICTS))]
    if recipe is None:
        calls = jobs
    more = replace(
        found,
        counts=found.counts + chunk.counts(jobs, len(conflicts)),
        bought=found.bought + bought,
        same_picture=found.same_picture + jobs - bought - calls,
        calls=found.calls + calls,
    )
    return more, conflicts, sample


MATCHED = """
    WITH pictures AS (
        SELECT count(*) AS jobs, bought_form, coalesce(source_sha256, content_sha256) AS content,
            CASE WHEN coalesce(source_sha256, content_sha256) IS NULL THEN jobs.source END AS unknown
        FROM jobs LEFT JOIN sources ON address_sha256 = sha256(convert_to(jobs.source, 'UTF8'))
        WHERE batch_id = :batch AND state <> 'cancelled'
        GROUP BY bought_form, content, unknown
    ), matched AS (
        SELECT jobs, r.key IS NOT NULL AS bought, r.key, r.sha256, r.size_bytes
        FROM pictures LEFT JOIN bought_results r
        ON :reuse AND r.source_sha256 = content AND r.bought_form = pictures.bought_form
            AND r.endpoint = :endpoint AND r.preparation = :preparation AND r.bucket = :bucket
            AND r.scope = :scope AND r.key IS NOT NULL
    )
"""
PLANNED_COUNT = text(f"""
    {MATCHED}
    SELECT coalesce(sum(jobs), 0)::bigint AS jobs,
        coalesce(sum(jobs) FILTER (WHERE bought), 0)::bigint AS bought,
        count(*) FILTER (WHERE NOT bought) AS pictures
    FROM matched
""")  # noqa: S608 - made of the constant above
PLANNED_SAMPLE = text(f"{MATCHED} {SAMPLE}")


def plan_batch(
    connection: Connection, batch_id: uuid.UUID, *, recipe: Recipe | None, bucket: Bucket, outputs: int
) -> None:
    """Save what the batch would cost now, in a transaction that the caller ends.

    `recipe` identifies the results that may be reused; None turns reuse off. A sample of them is checked in
    the bucket first, outside any transaction. Each job has at most `outputs`.
    """
    parameters = as_parameters(recipe) | {"batch": batch_id}
    jobs, bought, pictures = connection.execute(PLANNED_COUNT, parameters).one()
    sampled = [Sampled(*row) for row in connection.execute(PLANNED_SAMPLE, parameters)] if bought else []
    connection.commit()
    missing = check_sample(bucket, sampled).missing_of(bought)
    calls = pictures if recipe else jobs
    most = expect(connection, jobs * outputs)
    plan = {
        "already_bought": bought,
        "same_picture": jobs - bought - calls,
        "calls": calls,
        "missing": missing,
        "outputs": most.outputs,
        "output_cpu_seconds": round(most.cpu_seconds),
        "output_bytes": most.size_bytes,
    }
    connection.execute(update(INGESTS).where(INGESTS.c.batch_id == batch_id).values(plan=plan))


def check_sample(bucket: Bucket, sampled: Sequence[Sampled]) -> Sample:
    """Check each cutout in the bucket without reading it. Raises StorageError."""
    missing = sum(
        not bucket.holds(each.key, sha256=each.sha256, size_bytes=each.size_bytes) for each in sampled
    )
    return Sample(len(sampled), missing)


def as_parameters(recipe: Recipe | None) -> dict[str, object]:
    """Return the parameters that select reusable results; with None they select none."""
    return asdict(recipe or Recipe("", 0, "")) | {"reuse": recipe is not None}
