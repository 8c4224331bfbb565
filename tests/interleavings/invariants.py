"""Invariants after each step, and after everything that kept jobs back is gone."""

import uuid
from collections.abc import Sequence

from sqlalchemy import RowMapping

from tests.interleavings.installation import World
from tests.interleavings.same_picture import every_success_has_a_cutout_that_was_stored, only_its_buyer_calls

ROUNDS = 60
LEDGER = """
    SELECT jobs.id, count(*) FILTER (WHERE outcome = 'charged') AS charged,
        count(*) FILTER (WHERE outcome = 'unknown') AS unknown
    FROM jobs LEFT JOIN attempts ON job_id = jobs.id GROUP BY jobs.id
"""
# An independent query of the batch's columns: no statement of the product is used.
FORGOTTEN = """
    SELECT jobs.id, jobs.state, jobs.queue_state, jobs.code FROM jobs JOIN batches ON batches.id = batch_id
    WHERE queue_state = 'blocked' AND paused_at IS NULL AND paused_by_operator_at IS NULL
        AND batches.cancelled_at IS NULL
        AND (opens_at IS NULL OR opens_at <= now()) AND (closes_at IS NULL OR closes_at > now())
        AND NOT EXISTS (
            SELECT FROM ingests WHERE ingests.batch_id = batches.id
            AND options ? 'plan' AND NOT options ? 'approved'
        )
        AND (
            code IS DISTINCT FROM 'OVER_BUDGET' OR budget IS NULL OR budget > spent + (
                SELECT count(*) FROM jobs AS others WHERE others.batch_id = batches.id
                AND others.state IN ('queued', 'running') AND others.step = 'call'
                AND NOT EXISTS (SELECT FROM attempts WHERE job_id = others.id AND ended_at IS NULL)
            )
        )
"""
# Calls that must not have begun; the budget is compared with the ledger, not with a counter.
MUST_NOT_BEGIN = """
    SELECT jobs.id, jobs.step, jobs.cancelled_at AS job_cancelled_at, batches.cancelled_at, paused_at,
        closes_at, budget, charges.of_batch, awaits_approval, queue_is_paused, charges.unknown
    FROM jobs JOIN batches ON batches.id = batch_id
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM ingests WHERE ingests.batch_id = batches.id
            AND options ? 'plan' AND NOT options ? 'approved'
        ) AS awaits_approval,
        (SELECT bool_or(queue_clock.paused_at IS NOT NULL) FROM queue_clock) AS queue_is_paused
    ) AS blocked
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE outcome <> 'not_charged') AS of_batch,
            count(*) FILTER (WHERE job_id = jobs.id AND attempts.id <> :attempt AND outcome = 'unknown')
                AS unknown
        FROM attempts JOIN jobs AS its ON its.id = job_id WHERE its.batch_id = batches.id
    ) AS charges
    WHERE jobs.id = :job AND (
        jobs.step <> 'call' OR jobs.cancelled_at IS NOT NULL OR batches.cancelled_at IS NOT NULL
        OR paused_at IS NOT NULL OR paused_by_operator_at IS NOT NULL
        OR opens_at > now() OR closes_at <= now() OR charges.of_batch > budget
        OR awaits_approval OR queue_is_paused OR charges.unknown > :most_unknown
    )
"""
UNFINISHED = "state NOT IN ('succeeded', 'failed', 'cancelled')"
ONE_OF_EACH = """
    SELECT DISTINCT ON (batch_id, state, queue_state, step, code)
        batch_id, state, queue_state, step, code, id
    FROM jobs WHERE finished_at IS NULL
"""
# Held with a reason: only a person can let it continue.
FOR_A_PERSON = "state = 'held' AND queue_state IS NULL AND code IS NOT NULL AND message IS NOT NULL"
ITS_STATE = "SELECT id, batch_id, state, queue_state, step, code, message FROM jobs"
OPEN = """
    SELECT attempts.id, job_id, number, attempts.fence, jobs.fence AS job_fence, jobs.state
    FROM attempts JOIN jobs ON jobs.id = job_id WHERE ended_at IS NULL
"""
# The last paid result of a job is stored, or the ledger says that it is lost.
UNSTORED = """
    SELECT jobs.id, state, step, jobs.code, attempts.number FROM jobs JOIN attempts ON attempts.id = (
        SELECT max(id) FROM attempts WHERE job_id = jobs.id AND outcome = 'charged'
    ) WHERE key IS NULL AND lost_at IS NULL
"""


def _none(rows: Sequence[RowMapping], promise: str) -> None:
    """Assert that no row breaks the promise; the error lists those that do."""
    assert not rows, "\n".join([f"broken: {promise}", *(str(dict(row)) for row in rows)])


def charges_are_in_the_ledger(world: World) -> None:
    """Every charge has a row, charged or unknown; no other call is recorded as charged."""
    for row in world.rows(LEDGER):
        charges = world.endpoint.charges[row["id"]]
        assert row["charged"] <= charges <= row["charged"] + row["unknown"], (
            f"the endpoint charged {charges} times, and the ledger says {dict(row)}"
        )


def only_allowed_calls_were_begun(world: World) -> None:
    """No call begins that a person, a budget, an unknown charge or an existing result forbids."""
    for attempt_id, held in world.begun.items():
        job_id = held.claim.job_id
        most_unknown = max(world.bounds.unknown, world.accepted_unknown.get(job_id, 0))
        rows = world.rows(MUST_NOT_BEGIN, job=job_id, attempt=attempt_id, most_unknown=most_unknown)
        _none(rows, f"only allowed calls begin; at most {most_unknown} charges may be unknown")
    world.begun.clear()


def every_wait_has_a_reason(world: World) -> None:
    """After some ticks no job is blocked whose batch lets it continue, and every wait has a reason."""
    world.tick(0)
    world.tick(0)
    _none(world.rows(FORGOTTEN), "blocked jobs become ready once nothing of their batch blocks them")
    for row in world.rows(ONE_OF_EACH):
        explanation = world.explain(row["id"])
        assert explanation.why, f"no code explains why this job waits: {dict(row)}"
        assert explanation.text, f"no text explains why this job waits: {dict(row)}, {explanation}"


def no_running_job_is_forgotten(world: World) -> None:
    """A job that a living worker does not hold any more is rescued after two heartbeats."""
    for _ in range(2):
        for worker in world.living:
            world.beat(worker)
    world.rescue()
    world.let_time_pass()
    world.audit()
    in_flight = {(held.claim.job_id, held.claim.fence) for held in world.held_jobs}
    left = [
        row
        for row in world.rows("SELECT id, fence, step FROM jobs WHERE state = 'running'")
        if (row["id"], row["fence"]) not in in_flight
    ]
    _none(left, "a running job is held by a worker")
    calls = {held.attempt_id for held in world.held_jobs}
    _none(
        [row for row in world.rows(OPEN) if row["id"] not in calls],
        "an attempt without an end has an open call",
    )


def everything_ends(world: World) -> None:
    """Without obstacles every job ends or is held for a person; retried, it ends."""
    _unblock(world)
    _work(world)
    left = world.rows(f"{ITS_STATE} WHERE {UNFINISHED} AND NOT ({FOR_A_PERSON})")
    _none(left, "with nothing in its way a job ends, or is held with a reason for a person")
    for job_id in world.jobs("state = 'held'"):
        world.retry(job_id)
    _work(world)
    _none(world.rows(f"{ITS_STATE} WHERE {UNFINISHED}"), "a held job that is retried ends")
    _none(world.rows(OPEN), "every call has an end once all jobs have")
    _none(world.rows(UNSTORED), "a paid result is stored, or recorded as lost")
    charges_are_in_the_ledger(world)
    every_success_has_a_cutout_that_was_stored(world)


def _unblock(world: World) -> None:
    world.resume(None)
    world.close_breaker()
    for batch_id in world.batches:
        world.resume(batch_id)
        world.set_window(batch_id, is_open=None)
        world.set_budget(batch_id, None)
        world.approve(batch_id)
    for worker in world.living:
        world.kill(worker, keeps_answers=True)
    world.replay()
    world.rescue()
    world.let_time_pass()
    world.audit()
    world.messages.clear()
    world.reused.clear()
    world.forget_missing()
    world.start_worker()


def _deliver(world: World, worker: uuid.UUID) -> None:
    for message in world.messages:
        world.deliver(message, worker)
    world.messages.clear()
    for jobs in world.reused:
        world.serve(jobs)
    world.reused.clear()


def _work(world: World) -> None:
    """Process everything that is dispatched, as a correct worker does, until nothing moves any more."""
    (worker,) = world.living
    for _ in range(ROUNDS):
        world.forget_missing_if_stopped()
        world.let_time_pass()
        world.tick(100)
        _deliver(world, worker)
        if not world.held_jobs and not world.jobs("queue_state IS NOT NULL"):
            return
        for held in list(world.held_jobs):
            if held.acquires:
                world.acquire(held)
        for held in list(world.held_jobs):
            if held.may_begin:
                world.begin(held)
        only_its_buyer_calls(world)
        only_allowed_calls_were_begun(world)
        for held in list(world.held_jobs):
            if held.is_calling:
                world.charge(held)
                world.read_answer(held)
        for held in list(world.held_jobs):
            world.store_cutout(held)
