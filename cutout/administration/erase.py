"""Erasure of a picture by the operator: all data about it, of every producer, found by its SHA-256.

An object is deleted before the row that names it: if the process is killed, another erasure finds the rest.
"""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Text, and_, bindparam, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from cutout import queue
from cutout.administration.delete import DELETABLE, DeletableJob, Deletion, delete_job, unwrite_results
from cutout.administration.output_removal import is_shared, output_objects, withdraw_outputs
from cutout.administration.source_removal import IS_UPLOADED, remove_source
from cutout.enums import FINAL_STATES
from cutout.models import ATTEMPTS, INGESTS, JOBS, RESULTS, RUNS, SOURCES, IdempotencyKey, Producer
from cutout.results.publish import results_key
from cutout.schedules.report_publish import folder_of, write_report
from cutout.storage import Bucket, StorageError
from cutout.storage.object_keys import source_key
from cutout.storage.unexpected_bytes import prefix_of

# A job that reused the cutout while it was erased is found by the next round.
MOST_ROUNDS = 5
REPORT_FILES = ("results.csv", "report.json", "report.html")
REUSABLE_RESULTS = "results for reuse"
SOURCE_ADDRESSES = "source addresses"

OLD_REPORTS = text(
    "DELETE FROM deliveries WHERE type = 'schedule.report' AND state <> 'waiting'"
    " AND payload::json -> 'data' ->> 'batch_id' = ANY(:batches) RETURNING id"
).bindparams(bindparam("batches", type_=ARRAY(Text)))


class PictureJob(NamedTuple):
    """A job for the picture, whether it has ended, and the keys of its outputs."""

    job: DeletableJob
    ended: bool
    in_lifeboat: bool
    outputs: tuple[str, ...]


@dataclass(slots=True)
class Found:
    """All data about a picture: jobs, cutouts as (bucket, key) in the table of results, keys of uploaded
    sources, batches and runs whose files contain it, and the number of addresses it was fetched from.
    """

    jobs: list[PictureJob] = field(default_factory=list)
    cutouts: list[tuple[str, str]] = field(default_factory=list)
    results: int = 0
    sources: list[tuple[uuid.UUID | None, str]] = field(default_factory=list)
    batches: set[uuid.UUID] = field(default_factory=set)
    runs: list[uuid.UUID] = field(default_factory=list)
    addresses: int = 0

    def __bool__(self) -> bool:
        return bool(self.jobs or self.results or self.sources or self.addresses)

    def counted(self) -> Counter[str]:
        """The number of items of each kind."""
        keys = {each.job.key for each in self.jobs if each.job.key} | {key for _, key in self.cutouts}
        return Counter(
            {
                "jobs": len(self.jobs),
                "cutouts": len(keys),
                "outputs": len({key for each in self.jobs for key in each.outputs}),
                "unexpected results": sum(each.job.unexpected is not None for each in self.jobs),
                "sources": len(self.sources),
                REUSABLE_RESULTS: self.results,
                SOURCE_ADDRESSES: self.addresses,
                "results files": len(self.batches),
                "reports": len(self.runs),
            }
        )


@dataclass(slots=True)
class Erased:
    """The number of items removed, by kind; items kept, with the reason; jobs that must end first."""

    removed: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)
    unfinished: list[uuid.UUID] = field(default_factory=list)


def find(engine: Engine, bucket: Bucket, sha256: bytes) -> Found:
    """Find all data about a picture without changing anything. Raises StorageError."""
    found = Found()
    with Session(engine) as session:
        columns = (*DELETABLE.selected_columns, JOBS.c.state, JOBS.c.lifeboat_key.is_not(None))
        jobs = session.execute(select(*columns).where(_is_job_for(sha256))).all()
        for *job, state, in_lifeboat in jobs:
            deletable = DeletableJob._make(job)
            keys = tuple(output.key for output in output_objects(session, deletable.id))
            found.jobs.append(PictureJob(deletable, state in FINAL_STATES, in_lifeboat, keys))
        rows = session.execute(
            select(RESULTS.c.bucket, RESULTS.c.key).where(_has_source(RESULTS, sha256))
        ).all()
        found.results = len(rows)
        found.cutouts = [(row.bucket, row.key) for row in rows if row.key is not None]
        same_content = SOURCES.c.content_sha256 == sha256
        found.addresses = session.scalars(select(func.count()).select_from(SOURCES).where(same_content)).one()
        called = select(JOBS.c.batch_id).join(ATTEMPTS, ATTEMPTS.c.job_id == JOBS.c.id)
        batches = session.scalars(called.where(_has_source(ATTEMPTS, sha256)).distinct()).all()
        of_jobs = [each.job.batch_id for each in found.jobs]
        found.batches = {batch_id for batch_id in (*of_jobs, *batches) if batch_id is not None}
        reported = select(RUNS.c.id).where(RUNS.c.batch_id.in_(found.batches), RUNS.c.report_key.is_not(None))
        found.runs = list(session.scalars(reported))
        owners: list[uuid.UUID | None] = [None, *session.scalars(select(Producer.id))]
    sources = [(owner, source_key(sha256.hex(), owner)) for owner in owners]
    found.sources = [(owner, key) for owner, key in sources if bucket.has(key)]
    return found


def erase(engine: Engine, bucket: Bucket, sha256: bytes) -> Erased:
    """Remove all data about a picture. Raises StorageError.

    Jobs that have not ended are cancelled. Paid results of theirs are copied first, so these jobs are listed
    as unfinished, and another erasure has to remove them.
    """
    erased = Erased()
    batches: set[uuid.UUID] = set()
    runs: set[uuid.UUID] = set()
    for _ in range(MOST_ROUNDS):
        found = find(engine, bucket, sha256)
        if not found:
            break
        batches |= found.batches
        runs |= set(found.runs)
        erased.unfinished = _cancel(engine, found)
        ended = [each for each in find(engine, bucket, sha256).jobs if each.ended]
        _remove_files(engine, bucket, found, erased)
        _remove_cutouts(engine, bucket, sha256, found, erased)
        for each in ended:
            _remove_job(engine, bucket, sha256, each, erased)
        _remove_sources(engine, bucket, found, erased)
        _forget_addresses(engine, sha256, erased)
        if not ended and erased.unfinished:
            break
    for run_id in sorted(runs):
        write_report(engine, bucket, run_id)
    _note_kept(engine, bucket, sha256, batches, erased)
    return erased


def _is_job_for(sha256: bytes) -> ColumnElement[bool]:
    """Jobs for the picture, by the hash of the source, the upload, a call, or the content of an address."""
    unknown = JOBS.c.source_sha256.is_(None)
    called = select(ATTEMPTS.c.job_id).where(_has_source(ATTEMPTS, sha256))
    addresses = select(SOURCES.c.address_sha256).where(SOURCES.c.content_sha256 == sha256)
    address = func.sha256(func.convert_to(JOBS.c.source, "UTF8"))
    return and_(
        JOBS.c.deleted_at.is_(None),
        or_(
            JOBS.c.source_sha256 == sha256,
            and_(IS_UPLOADED, JOBS.c.source.endswith(f"/{sha256.hex()}")),
            and_(unknown, or_(JOBS.c.id.in_(called), address.in_(addresses))),
        ),
    )


def _has_source(table: Any, sha256: bytes) -> ColumnElement[bool]:
    same_source: ColumnElement[bool] = table.c.source_sha256 == sha256
    return same_source


def _cancel(engine: Engine, found: Found) -> list[uuid.UUID]:
    """Cancel the jobs that have not ended; returns those that continue: paid for, or run by a worker."""
    ids = [each.job.id for each in found.jobs if not each.ended]
    if not ids:
        return []
    with Session(engine) as session, session.begin():
        queue.cancel_all(session, ids)
    with Session(engine) as session:
        unfinished = select(JOBS.c.id).where(JOBS.c.id.in_(ids), JOBS.c.finished_at.is_(None))
        return list(session.scalars(unfinished))


def _remove_files(engine: Engine, bucket: Bucket, found: Found, erased: Erased) -> None:
    """Remove results files and reports that contain the picture; they are rewritten without it."""
    with Session(engine) as session, session.begin():
        for batch_id in sorted(found.batches):
            unwrite_results(session, batch_id)
    keys = [results_key(batch_id) for batch_id in found.batches]
    keys += [f"{folder_of(run_id)}/{name}" for run_id in found.runs for name in REPORT_FILES]
    for key in keys:
        if bucket.has(key):
            bucket.delete(key)
            erased.removed["results files" if key.startswith("results/") else "report files"] += 1


def _remove_cutouts(engine: Engine, bucket: Bucket, sha256: bytes, found: Found, erased: Erased) -> None:
    """Remove the objects in the table of results, also those of deleted jobs; then the rows."""
    for name, key in found.cutouts:
        owning_bucket = bucket if name == bucket.name else bucket.sibling(name)
        _remove_cutout(engine, owning_bucket, sha256, key, erased)
    with Session(engine) as session, session.begin():
        deleted = delete(RESULTS).where(_has_source(RESULTS, sha256)).returning(RESULTS.c.buyer)
        erased.removed[REUSABLE_RESULTS] += len(session.scalars(deleted).all())


def _remove_cutout(engine: Engine, bucket: Bucket, sha256: bytes, key: str, erased: Erased) -> None:
    """Remove an object, unless a job for another picture has the same key, as older key templates allowed."""
    others = select(JOBS.c.id).where(
        JOBS.c.key == key, JOBS.c.source_sha256.is_not(None), JOBS.c.source_sha256 != sha256
    )
    with Session(engine) as session:
        other = session.scalar(others.limit(1))
    if other is not None:
        erased.kept.append(f"{key}: job {other}, for another picture, has the same key")
    elif bucket.has(key):
        bucket.delete(key)
        erased.removed["cutouts"] += 1


def _remove_job(engine: Engine, bucket: Bucket, sha256: bytes, each: PictureJob, erased: Erased) -> None:
    job = each.job
    _remove_outputs(engine, bucket, sha256, job, erased)
    if job.key is not None:
        _remove_cutout(engine, bucket, sha256, job.key, erased)
    if job.unexpected is not None:
        for key in bucket.keys(prefix_of(job.id)):
            bucket.delete(key)
            erased.removed["unexpected results"] += 1
    deletion = Deletion()
    with Session(engine) as session, session.begin():
        responses = select(func.count()).where(IdempotencyKey.location == f"/v1/jobs/{job.id}")
        kept_responses = session.scalars(responses).one()
        if not delete_job(session, job, deletion):
            return
    erased.removed["jobs"] += 1
    erased.removed["jobs' messages"] += sum(part.what == "messages" for part in deletion.removed)
    if kept_responses:
        erased.kept.append(
            f"job {job.id}: the response kept under its Idempotency-Key for 24 hours, so that a repeated"
            " request buys nothing twice"
        )
    if each.in_lifeboat:
        erased.kept.append(f"job {job.id}: its entry in the lifeboat, until a worker starts and sweeps it")


def _remove_outputs(engine: Engine, bucket: Bucket, sha256: bytes, job: DeletableJob, erased: Erased) -> None:
    """Remove the objects of a job's outputs, unless a job for another picture has the same key."""
    with Session(engine) as session, session.begin():
        outputs = withdraw_outputs(session, job.id)
    for output in outputs:
        with Session(engine) as session:
            shared = is_shared(session, job.id, output.key, other_than=sha256)
        if shared:
            erased.kept.append(f"{output.key}: a job for another picture has the same key")
        elif bucket.has(output.key):
            bucket.delete(output.key)
            erased.removed["outputs"] += 1


def _remove_sources(engine: Engine, bucket: Bucket, found: Found, erased: Erased) -> None:
    for owner, key in found.sources:
        source = f"s3://{bucket.name}/{key}"
        left = remove_source(engine, bucket, source, producer_id=owner, job_id=None)
        if left and left.why:
            if not erased.unfinished:
                erased.kept.append(f"{key}: {left.why}")
        else:
            erased.removed["sources"] += 1


def _forget_addresses(engine: Engine, sha256: bytes, erased: Erased) -> None:
    if erased.unfinished:
        # The next erasure finds unfinished jobs by their addresses.
        return
    with Session(engine) as session, session.begin():
        deleted = (
            delete(SOURCES).where(SOURCES.c.content_sha256 == sha256).returning(SOURCES.c.address_sha256)
        )
        erased.removed[SOURCE_ADDRESSES] += len(session.scalars(deleted).all())


def _note_kept(
    engine: Engine, bucket: Bucket, sha256: bytes, batches: set[uuid.UUID], erased: Erased
) -> None:
    with Session(engine) as session, session.begin():
        deleted = session.scalars(OLD_REPORTS, {"batches": [str(batch_id) for batch_id in batches]})
        erased.removed["reports' messages"] += len(deleted.all())
        manifests = session.scalars(
            select(INGESTS.c.manifest_key).where(
                INGESTS.c.batch_id.in_(batches), INGESTS.c.manifest_key.is_not(None)
            )
        ).all()
        same_picture = or_(_has_source(ATTEMPTS, sha256), ATTEMPTS.c.image_sha256 == sha256)
        calls = session.scalars(select(func.count()).select_from(ATTEMPTS).where(same_picture)).one()
    erased.kept += [
        f"{key}: the manifest or archive, which contains its row or its picture" for key in manifests
    ]
    if calls:
        erased.kept.append(f"the ledger's entries of {calls} calls, with its hash, for billing")
    try:
        versions = bucket.keeps_versions()
    except StorageError:
        versions = False
    if versions:
        erased.kept.append("old versions of its objects, until a lifecycle rule of the bucket removes them")
