"""Invariants of jobs for the same picture: one of them buys, and the others wait for it only."""

from collections.abc import Sequence

from sqlalchemy import RowMapping

from tests.interleavings.installation import World
from tests.interleavings.pictures import sha256_of

# Independent queries: no statement of the product is used.
WAITING = """
    SELECT waiter.id, waiter.priority, waiter.virtual_start, waiter.waits_for,
        buyer.state, buyer.queue_state, buyer.step,
        buyer.priority AS buyer_priority, buyer.virtual_start AS buyer_start
    FROM jobs AS waiter LEFT JOIN jobs AS buyer ON buyer.id = waiter.waits_for
    WHERE waiter.queue_state = 'waiting'
"""
FOR_NOBODY = f"""
    SELECT * FROM ({WAITING}) AS waiting
    WHERE state IS NULL OR state NOT IN ('queued', 'running') OR queue_state IN ('waiting', 'blocked')
"""  # noqa: S608
BEHIND = f"""
    SELECT * FROM ({WAITING}) AS waiting
    WHERE step = 'call' AND (priority, virtual_start) < (buyer_priority, buyer_start)
"""  # noqa: S608
CALLED_BY_ANOTHER = """
    SELECT attempts.id, job_id, jobs.state, jobs.queue_state FROM attempts JOIN jobs ON jobs.id = job_id
    WHERE attempts.source_sha256 = :picture AND job_id <> :job AND ended_at IS NULL
"""
BUYER = "SELECT buyer FROM bought_results WHERE source_sha256 = :picture AND buyer <> :job"
# A charge without a response, or whose result is lost, is recorded as such.
PAID = """
    SELECT source_sha256, count(*) FILTER (WHERE outcome = 'charged') AS charged,
        count(*) FILTER (WHERE unknown_at IS NOT NULL OR lost_at IS NOT NULL) AS traced
    FROM attempts GROUP BY source_sha256
"""
SUCCEEDED = "SELECT id, batch_id, source, source_sha256, key, reused FROM jobs WHERE state = 'succeeded'"


def _none(rows: Sequence[RowMapping], promise: str) -> None:
    assert not rows, "\n".join([f"broken: {promise}", *(str(dict(row)) for row in rows)])


def waiting_jobs_have_a_buyer(world: World) -> None:
    """After a promotion, each waiting job has a buyer that is buying."""
    _none(world.rows(FOR_NOBODY), "no waiting job is forgotten after its buyer is gone")


def a_buyer_inherits_priority(world: World) -> None:
    """After a promotion, no buyer goes behind a job that waits for it."""
    _none(world.rows(BEHIND), "a buyer goes as early as the first job that waits for it")


def only_its_buyer_calls(world: World) -> None:
    """A job that begins a call is the buyer, and no other job for the picture has an open call."""
    for held in world.begun.values():
        values = {"picture": sha256_of(held.claim.source), "job": held.claim.job_id}
        _none(world.rows(CALLED_BY_ANOTHER, **values), f"one job at a time calls; now {values['job']}")
        _none(world.rows(BUYER, **values), f"job {values['job']} calls, and another job is the buyer")


def no_picture_is_paid_twice_without_a_trace(world: World) -> None:
    """Each charge of a picture but one is unknown, lost, or its cutout was deleted."""
    for row in world.rows(PAID):
        traced = row["traced"] + world.deleted[row["source_sha256"]]
        assert row["charged"] <= 1 + traced, f"a picture was paid for too often: {dict(row)}"


def every_success_has_a_cutout_that_was_stored(world: World) -> None:
    """Each success has a cutout of its own picture, in the bucket unless it was deleted."""
    keys: dict[str, bytes] = {}
    for row in world.rows(SUCCEEDED):
        assert row["source_sha256"] == sha256_of(row["source"]), dict(row)
        assert keys.setdefault(row["key"], row["source_sha256"]) == row["source_sha256"], dict(row)
        assert row["key"] in world.cutouts or world.deleted[row["source_sha256"]], dict(row)
