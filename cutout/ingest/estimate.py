"""What an ingest would make and cost, without storing anything.

Rows pass through tables of the database session's own, so that memory here does not grow with them: one row
of three numbers for each job, and one of a number for each picture to buy.
"""

import random
import re
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, text, update

from cutout.ingest.bulk_insert import prepare, stage
from cutout.ingest.chunks import Chunk, ChunkReader, Counts
from cutout.ingest.id_conflicts import Conflict, rejects_of
from cutout.ingest.numbered_ids import named_records
from cutout.ingest.options import Order
from cutout.ingest.plan_sample import MOST_SAMPLED, SAMPLE, Sample, Sampled, as_parameters, look
from cutout.ingest.progress import Progress, Watch
from cutout.ingest.sources.contents import Hash
from cutout.ingest.sources.source import Source
from cutout.manifests import Reject
from cutout.models import INGESTS
from cutout.queue.reuse.identity import Making
from cutout.storage import Bucket

HASHES_AT_ONCE = 2
MOST_REASONS = 20
OTHER_REASONS = "for other reasons"
# The same reason with another value is one reason.
VALUE = re.compile(r"'(?:[^'\\]|\\.)*'")

SEEN = (
    "CREATE TEMPORARY TABLE seen_jobs (hash bigint PRIMARY KEY, named bigint, line bigint)",
    "CREATE TEMPORARY TABLE seen_pictures (hash bigint PRIMARY KEY)",
)
JOB = "hashtextextended(return_form || ' ' || external_id, 0)"
NAMED = "hashtextextended(coalesce(manifest_source, source), 0)"
PICTURE = "hashtextextended(return_form || ' ' || source, 0)"
# A picture is known by its bytes, or by what its address held when it was last fetched.
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
        SELECT DISTINCT ON (hash) {PICTURE} AS picture, return_form, {CONTENT} AS content
        FROM staged_jobs JOIN new ON hash = {JOB} ORDER BY hash, n
    ), judged AS (
        SELECT picture, r.key IS NOT NULL AS bought, r.key, r.sha256, r.size_bytes
        FROM jobs LEFT JOIN bought_results r
        ON :reuse AND r.source_sha256 = content AND r.return_form = jobs.return_form AND r.key IS NOT NULL
            AND r.endpoint = :endpoint AND r.preparation = :preparation AND r.bucket = :bucket
            AND r.scope = :scope
    ), wanted AS (
        INSERT INTO seen_pictures SELECT picture FROM judged WHERE NOT bought
        ON CONFLICT DO NOTHING RETURNING hash
    )
    SELECT count(*) AS jobs, count(*) FILTER (WHERE bought) AS bought,
        (SELECT count(*) FROM wanted) AS calls,
        (
            SELECT json_agg(json_build_array(key, encode(sha256, 'hex'), size_bytes)) FROM ({SAMPLE}) s
        ) AS sample
    FROM judged
"""  # noqa: S608 - made of the constants above

CONFLICTS = f"""
    SELECT manifest_line, external_id, line FROM staged_jobs JOIN seen_jobs ON hash = {JOB}
    WHERE named <> {NAMED} ORDER BY n
"""  # noqa: S608 - made of the constants above


@dataclass(frozen=True, slots=True)
class Estimate:
    """What would come of a source: `bought` jobs have a result, `twins` share one call with another job of
    it, `calls` cost a credit each. `reasons` counts the rejects, `skipped` says which files are not taken.
    `sample` says how many of those bought are still in the bucket.
    """

    counts: Counts = field(default_factory=Counts)
    bought: int = 0
    twins: int = 0
    calls: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    sample: Sample = field(default_factory=Sample)


def estimate(
    engine: Engine,
    bucket: Bucket,
    source: Source,
    order: Order,
    making: Making | None,
    *,
    on_reject: Callable[[Reject], None],
    watch: Watch,
) -> Estimate:
    """Read all of the source and store nothing; files of this machine are hashed, cutouts sampled.

    `making` says which results would do for those jobs, None that none is to be used again.

    Raises IngestError, ManifestError or StorageError where no more can be read.
    """
    reasons: Counter[str] = Counter()

    def reject(rejected: Reject) -> None:
        on_reject(rejected)
        reason = VALUE.sub("…", rejected.reason).partition(";")[0].partition(":")[0]
        known = reason in reasons or len(reasons) < MOST_REASONS
        reasons[reason if known else OTHER_REASONS] += 1

    found, sampled = Estimate(reasons=reasons), list[Sampled]()
    with engine.connect() as connection, ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
        prepare(connection)
        for statement in SEEN:
            connection.execute(text(statement))
        connection.commit()
        with named_records(engine, source) as records:
            reader = ChunkReader(source, order.asking, Hash(bucket.name), pool, reject, records=records)
            while chunk := reader.read():
                found, conflicts, more = _with_chunk(connection, found, chunk, making=making)
                for rejected in rejects_of(conflicts):
                    reject(rejected)
                sampled = _some_of([*sampled, *more])
                watch(Progress(found.counts, source.position(), source.extent, source.skipped.total))
    found = replace(found, skipped=source.skipped.as_json(), remarks=source.remarks())
    return replace(found, sample=look(bucket, sampled))


def _some_of(sampled: list[Sampled]) -> list[Sampled]:
    return random.sample(sampled, min(len(sampled), MOST_SAMPLED))


def _with_chunk(
    connection: Connection, found: Estimate, chunk: Chunk, *, making: Making | None
) -> tuple[Estimate, list[Conflict], list[Sampled]]:
    jobs = bought = calls = 0
    conflicts: list[Conflict] = []
    sample: list[Sampled] = []
    if chunk.lines:
        with connection.begin():
            stage(connection, chunk)
            jobs, bought, calls, rows = connection.execute(text(COUNT), as_parameters(making)).one()
            sample = [Sampled(key, bytes.fromhex(sha256), size) for key, sha256, size in rows or ()]
            if jobs < len(chunk.lines):
                conflicts = [Conflict._make(row) for row in connection.execute(text(CONFLICTS))]
    if making is None:
        calls = jobs
    more = replace(
        found,
        counts=found.counts + chunk.counts(jobs, len(conflicts)),
        bought=found.bought + bought,
        twins=found.twins + jobs - bought - calls,
        calls=found.calls + calls,
    )
    return more, conflicts, sample


# A picture is known by its bytes, or by what its address held when it was last fetched.
JUDGED = """
    WITH pictures AS (
        SELECT count(*) AS jobs, return_form, coalesce(source_sha256, content_sha256) AS content,
            CASE WHEN coalesce(source_sha256, content_sha256) IS NULL THEN jobs.source END AS unknown
        FROM jobs LEFT JOIN sources ON address_sha256 = sha256(convert_to(jobs.source, 'UTF8'))
        WHERE batch_id = :batch AND state <> 'cancelled'
        GROUP BY return_form, content, unknown
    ), judged AS (
        SELECT jobs, r.key IS NOT NULL AS bought, r.key, r.sha256, r.size_bytes
        FROM pictures LEFT JOIN bought_results r
        ON :reuse AND r.source_sha256 = content AND r.return_form = pictures.return_form
            AND r.endpoint = :endpoint AND r.preparation = :preparation AND r.bucket = :bucket
            AND r.scope = :scope AND r.key IS NOT NULL
    )
"""
PLANNED_COUNT = text(f"""
    {JUDGED}
    SELECT coalesce(sum(jobs), 0)::bigint AS jobs,
        coalesce(sum(jobs) FILTER (WHERE bought), 0)::bigint AS bought,
        count(*) FILTER (WHERE NOT bought) AS pictures
    FROM judged
""")  # noqa: S608 - made of the constant above
CUTOUTS = text(f"{JUDGED} {SAMPLE}")


def plan_batch(connection: Connection, batch_id: uuid.UUID, *, making: Making | None, bucket: Bucket) -> None:
    """Write down what the batch would cost now, in a transaction that the caller ends.

    `making` says which results would do, None that none may. A sample of them is looked for in the bucket
    first, outside any transaction.
    """
    asked = as_parameters(making) | {"batch": batch_id}
    jobs, bought, pictures = connection.execute(PLANNED_COUNT, asked).one()
    sampled = [Sampled(*row) for row in connection.execute(CUTOUTS, asked)] if bought else []
    connection.commit()
    missing = look(bucket, sampled).missing_of(bought)
    calls = pictures if making else jobs
    plan = {
        "already_bought": bought,
        "same_picture": jobs - bought - calls,
        "calls": calls,
        "missing": missing,
    }
    connection.execute(update(INGESTS).where(INGESTS.c.batch_id == batch_id).values(plan=plan))
