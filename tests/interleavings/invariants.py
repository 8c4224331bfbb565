"""Invariants after each step, and once everything that kept jobs back is gone."""

import uuid
from collections.abc import Sequence

from sqlalchemy import RowMapping

from tests.interleavings.installation import World
from tests.interleavings.twins import every_success_has_a_cutout_that_was_stored, only_its_buyer_calls

ROUNDS = 60
LEDGER = """
    SELECT jobs.id, count(*) FILTER (WHERE outcome = 'charged') AS charged,
        count(*) FILTER (WHERE outcome = 'unknown') AS unknown
    FROM jobs LEFT JOIN attempts ON job_id = jobs.id GROUP BY jobs.id
"""
# The batch's own facts, told anew: no statement of ours is asked.
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
# The same of a call that was begun; its batch's budget is held against the ledger, not against a counter.
MUST_NOT_BEGIN = """
    SELECT jobs.id, jobs.step, jobs.cancelled_at AS job_cancelled_at, batches.cancelled_at, paused_at,
        closes_at, budget, charges.of_batch, awaits_approval, line_is_paused, charges.unknown
    FROM jobs JOIN batches ON batches.id = batch_id
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM ingests WHERE ingests.batch_id = batches.id
            AND options ? 'plan' AND NOT options ? 'approved'
        ) AS awaits_approval,
        (SELECT bool_or(queue_clock.paused_at IS NOT NULL) FROM queue_clock) AS line_is_paused
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
        OR awaits_approval OR line_is_paused OR charges.unknown > :most_unknown
    )
"""
UNFINISHED = "state NOT IN ('succeeded', 'failed', 'cancelled')"
ONE_OF_EACH = """
    SELECT DISTINCT ON (batch_id, state, queue_state, step, code)
        batch_id, state, queue_state, step, code, id
    FROM jobs WHERE finished_at IS NULL
"""
# A person can see why, and can let it go on; nothing else does.
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
    """No row breaks it; those that do are the error's text."""
    assert not rows, "\n".join([f"broken: {promise}", *(str(dict(row)) for row in rows)])


def charges_are_in_the_ledger(world: World) -> None:
    """Every charge has a row, charged or unknown; nothing is called charged that was not."""
    for row in world.rows(LEDGER):
        charges = world.endpoint.charges[row["id"]]
        assert row["charged"] <= charges <= row["charged"] + row["unknown"], (
            f"the endpoint charged {charges} times, and the ledger says {dict(row)}"
        )


def only_allowed_calls_were_begun(world: World) -> None:
    """No call begins that a person, a budget or an unknown charge forbids, nor one whose result is there."""
    for attempt_id, hand in world.begun.items():
        job_id = hand.claim.job_id
        most_unknown = max(world.bounds.unknown, world.accepted_unknown.get(job_id, 0))
        rows = world.rows(MUST_NOT_BEGIN, job=job_id, attempt=attempt_id, most_unknown=most_unknown)
        _none(rows, f"only allowed calls begin; at most {most_unknown} charges may be unknown")
    world.begun.clear()


def nothing_waits_for_nothing(world: World) -> None:
    """After enough ticks no job is blocked whose batch lets it go on, and every other wait has a reason."""
    world.tick(0)
    world.tick(0)
    _none(world.rows(FORGOTTEN), "blocked jobs come back once nothing of their batch blocks them")
    for row in world.rows(ONE_OF_EACH):
        said = world.explain(row["id"])
        assert said.why, f"nothing says why this job waits: {dict(row)}"
        assert said.text, f"no text says why this job waits: {dict(row)}, {said}"


def nobody_is_forgotten(world: World) -> None:
    """A job that a living worker does not carry any more is taken from it after two heartbeats."""
    for _ in range(2):
        for worker in world.living:
            world.beat(worker)
    world.rescue()
    world.let_time_pass()
    world.audit()
    carried = {(hand.claim.job_id, hand.claim.fence) for hand in world.hands}
    left = [
        row
        for row in world.rows("SELECT id, fence, step FROM jobs WHERE state = 'running'")
        if (row["id"], row["fence"]) not in carried
    ]
    _none(left, "a running job is carried by a worker")
    calls = {hand.attempt_id for hand in world.hands}
    _none([row for row in world.rows(OPEN) if row["id"] not in calls], "a call without an end is out")


def everything_ends(world: World) -> None:
    """With nothing in the way, every job ends or is held for a person; asked again, it ends."""
    _unblock(world)
    _work(world)
    left = world.rows(f"{ITS_STATE} WHERE {UNFINISHED} AND NOT ({FOR_A_PERSON})")
    _none(left, "with nothing in its way a job ends, or is held with a reason for a person")
    for job_id in world.jobs("state = 'held'"):
        world.retry(job_id)
    _work(world)
    _none(world.rows(f"{ITS_STATE} WHERE {UNFINISHED}"), "a held job that is retried ends")
    _none(world.rows(OPEN), "every call has an end once all jobs have")
    _none(world.rows(UNSTORED), "what was paid for is stored, or written down as lost")
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
    """An honest worker carries out whatever is handed out, until nothing moves any more."""
    (worker,) = world.living
    for _ in range(ROUNDS):
        world.let_time_pass()
        world.tick(100)
        _deliver(world, worker)
        if not world.hands and not world.jobs("queue_state IS NOT NULL"):
            return
        for hand in list(world.hands):
            if hand.asks:
                world.ask(hand)
        for hand in list(world.hands):
            if hand.may_begin:
                world.begin(hand)
        only_its_buyer_calls(world)
        only_allowed_calls_were_begun(world)
        for hand in list(world.hands):
            if hand.is_calling:
                world.charge(hand)
                world.read_answer(hand)
        for hand in list(world.hands):
            world.store_cutout(hand)
