"""Invariants of jobs for one picture: one of them buys, the others wait for it and for nothing else."""

from collections.abc import Sequence

from sqlalchemy import RowMapping

from tests.interleavings.installation import World
from tests.interleavings.pictures import sha256_of

# Told anew: no statement of ours is asked.
WAITING = """
    SELECT twins.id, twins.priority, twins.virtual_start, twins.waits_for, buyers.state,
        buyers.queue_state, buyers.step,
        buyers.priority AS its_priority, buyers.virtual_start AS its_place
    FROM jobs AS twins LEFT JOIN jobs AS buyers ON buyers.id = twins.waits_for
    WHERE twins.queue_state = 'waiting'
"""
FOR_NOBODY = f"""
    SELECT * FROM ({WAITING}) AS waiting
    WHERE state IS NULL OR state NOT IN ('queued', 'running') OR queue_state IN ('waiting', 'blocked')
"""  # noqa: S608
BEHIND = f"""
    SELECT * FROM ({WAITING}) AS waiting
    WHERE step = 'call' AND (priority, virtual_start) < (its_priority, its_place)
"""  # noqa: S608
CALLED_BY_ANOTHER = """
    SELECT attempts.id, job_id, jobs.state, jobs.queue_state FROM attempts JOIN jobs ON jobs.id = job_id
    WHERE attempts.source_sha256 = :picture AND job_id <> :job AND ended_at IS NULL
"""
BUYER = "SELECT buyer FROM bought_results WHERE source_sha256 = :picture AND buyer <> :job"
# A charge whose answer was awaited in vain, or whose result is gone, is on record as such.
PAID = """
    SELECT source_sha256, count(*) FILTER (WHERE outcome = 'charged') AS charged,
        count(*) FILTER (WHERE unknown_at IS NOT NULL OR lost_at IS NOT NULL) AS traced
    FROM attempts GROUP BY source_sha256
"""
SUCCEEDED = "SELECT id, batch_id, source, source_sha256, key, reused FROM jobs WHERE state = 'succeeded'"


def _none(rows: Sequence[RowMapping], promise: str) -> None:
    assert not rows, "\n".join([f"broken: {promise}", *(str(dict(row)) for row in rows)])


def nobody_waits_for_who_does_not_buy(world: World) -> None:
    """After a look at the twins, each job that waits for another waits for one that is under way."""
    _none(world.rows(FOR_NOBODY), "no twin is forgotten while its buyer is gone")


def a_buyer_goes_in_the_place_of_its_first_twin(world: World) -> None:
    """After a look, no job stands behind one that waits for it."""
    _none(world.rows(BEHIND), "a buyer has the best virtual_start of its twins")


def only_its_buyer_calls(world: World) -> None:
    """Whoever begins a call is the one whose it is to buy, and no call of another is out meanwhile."""
    for hand in world.begun.values():
        its = {"picture": sha256_of(hand.claim.source), "job": hand.claim.job_id}
        _none(world.rows(CALLED_BY_ANOTHER, **its), f"one job at a time calls; now {its['job']}")
        _none(world.rows(BUYER, **its), f"job {its['job']} calls, and it is another's to buy")


def no_picture_is_paid_twice_without_a_trace(world: World) -> None:
    """Each charge of a picture but one is on record: in doubt, lost, or its cutout was deleted."""
    for row in world.rows(PAID):
        traced = row["traced"] + world.deleted[row["source_sha256"]]
        assert row["charged"] <= 1 + traced, f"a picture was paid for once too often: {dict(row)}"


def every_success_has_a_cutout_that_was_stored(world: World) -> None:
    """Bought, or reused from a purchase of the same picture; in the bucket, unless it was deleted."""
    keys: dict[str, bytes] = {}
    for row in world.rows(SUCCEEDED):
        assert row["source_sha256"] == sha256_of(row["source"]), dict(row)
        assert keys.setdefault(row["key"], row["source_sha256"]) == row["source_sha256"], dict(row)
        assert row["key"] in world.cutouts or world.deleted[row["source_sha256"]], dict(row)
