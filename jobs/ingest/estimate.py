"""What an ingest would make and cost, without storing anything.

Rows pass through tables of the database session's own, so that memory here does not grow with them: one row
of eight bytes for each job, and one for each picture to buy.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import Connection, Engine, text

from jobs.ingest.chunks import Chunk, ChunkReader, Counts
from jobs.ingest.contents import Hash
from jobs.ingest.copying import prepare, stage
from jobs.ingest.orders import Order
from jobs.ingest.progress import Progress, Watch
from jobs.ingest.source import Source
from jobs.manifest import Reject
from jobs.store import Making

HASHES_AT_ONCE = 2
MOST_REASONS = 20
OTHER_REASONS = "for other reasons"

SEEN = (
    "CREATE TEMPORARY TABLE seen_jobs (hash bigint PRIMARY KEY)",
    "CREATE TEMPORARY TABLE seen_pictures (hash bigint PRIMARY KEY)",
)
JOB = "hashtextextended(return_form || ' ' || external_id, 0)"
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
        INSERT INTO seen_jobs SELECT {JOB} FROM staged_jobs ON CONFLICT DO NOTHING RETURNING hash
    ), jobs AS (
        SELECT DISTINCT ON (hash) {PICTURE} AS picture, return_form, {CONTENT} AS content
        FROM staged_jobs JOIN new ON hash = {JOB} ORDER BY hash, n
    ), judged AS (
        SELECT picture, :reuse AND EXISTS (
            SELECT FROM results r
            WHERE r.source_sha256 = content AND r.return_form = jobs.return_form AND r.stored_at IS NOT NULL
            AND r.endpoint = :endpoint AND r.preparation = :preparation
        ) AS bought FROM jobs
    ), wanted AS (
        INSERT INTO seen_pictures SELECT picture FROM judged WHERE NOT bought
        ON CONFLICT DO NOTHING RETURNING hash
    )
    SELECT count(*), count(*) FILTER (WHERE bought), (SELECT count(*) FROM wanted) FROM judged
"""  # noqa: S608 - made of the constants above


@dataclass(frozen=True, slots=True)
class Estimate:
    """What would come of a source: `bought` jobs have a result, `twins` share one call with another job of
    it, `calls` cost a credit each. `reasons` counts the rejects.
    """

    counts: Counts = field(default_factory=Counts)
    bought: int = 0
    twins: int = 0
    calls: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def estimate(
    engine: Engine,
    bucket: str,
    source: Source,
    order: Order,
    making: Making | None,
    *,
    on_reject: Callable[[Reject], None],
    watch: Watch,
) -> Estimate:
    """Read all of the source and store nothing; files of this machine are hashed.

    `making` says which results would do for those jobs, None that none is to be used again.

    Raises IngestError, ManifestError or StorageError where no more can be read.
    """
    reasons: Counter[str] = Counter()

    def reject(rejected: Reject) -> None:
        on_reject(rejected)
        reason = rejected.reason.partition(";")[0].partition(":")[0]
        known = reason in reasons or len(reasons) < MOST_REASONS
        reasons[reason if known else OTHER_REASONS] += 1

    found = Estimate(reasons=reasons)
    with engine.connect() as connection, ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
        prepare(connection)
        for statement in SEEN:
            connection.execute(text(statement))
        connection.commit()
        reader = ChunkReader(source, order.asking, Hash(bucket), pool, reject)
        while chunk := reader.read():
            found = _with_chunk(connection, found, chunk, making=making)
            watch(Progress(found.counts, source.position(), source.extent))
    return found


def _with_chunk(connection: Connection, found: Estimate, chunk: Chunk, *, making: Making | None) -> Estimate:
    jobs = bought = calls = 0
    if chunk.lines:
        with connection.begin():
            stage(connection, chunk)
            wanted = asdict(making) if making else {"endpoint": "", "preparation": 0}
            asked = wanted | {"reuse": making is not None}
            jobs, bought, calls = connection.execute(text(COUNT), asked).one()
    if making is None:
        calls = jobs
    return replace(
        found,
        counts=found.counts + chunk.counts(jobs),
        bought=found.bought + bought,
        twins=found.twins + jobs - bought - calls,
        calls=found.calls + calls,
    )
