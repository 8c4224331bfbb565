"""What holds after each step, and once everything that kept jobs back is gone."""

from tests.interleavings.installation import World

ROUNDS = 60
LEDGER = """
    SELECT jobs.id, count(*) FILTER (WHERE outcome = 'charged') AS charged,
        count(*) FILTER (WHERE outcome = 'unknown') AS unknown
    FROM jobs LEFT JOIN attempts ON job_id = jobs.id GROUP BY jobs.id
"""
# The batch's own facts, told anew: no statement of ours is asked.
FORGOTTEN = """
    SELECT jobs.id, jobs.state, jobs.standing, jobs.code FROM jobs JOIN batches ON batches.id = batch_id
    WHERE standing = 'parked' AND paused_at IS NULL AND batches.cancelled_at IS NULL
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
UNFINISHED = "state NOT IN ('succeeded', 'failed', 'cancelled')"
ITS_STATE = "SELECT id, state, standing, step, code FROM jobs"
OPEN = """
    SELECT attempts.id FROM attempts JOIN jobs ON jobs.id = job_id
    WHERE ended_at IS NULL AND jobs.state <> 'running'
"""


def charges_are_in_the_ledger(world: World) -> None:
    """Every charge has a row, charged or unknown; nothing is called charged that was not."""
    for row in world.rows(LEDGER):
        truth = world.endpoint.charges[row["id"]]
        assert row["charged"] <= truth <= row["charged"] + row["unknown"], (dict(row), truth)


def nothing_waits_for_nothing(world: World) -> None:
    """After enough ticks no job is parked whose batch lets it go on, and every other wait has a reason."""
    world.tick(0)
    world.tick(0)
    forgotten = world.rows(FORGOTTEN)
    assert forgotten == [], forgotten
    for job_id in world.jobs(UNFINISHED):
        said = world.explain(job_id)
        assert said.why, job_id
        assert said.text, job_id


def nobody_is_forgotten(world: World) -> None:
    """What a living worker does not carry any more is taken from it after two heartbeats."""
    for _ in range(2):
        for worker, lives in world.workers.items():
            if lives:
                world.beat(worker)
    world.rescue()
    world.audit()
    carried = {hand.claim.job_id for hand in world.hands}
    left = [job_id for job_id in world.jobs("state = 'running'") if job_id not in carried]
    assert left == [], left


def everything_ends(world: World) -> None:
    """With nothing in the way, every job ends or is held for a person; asked again, it ends."""
    _unblock(world)
    _work(world)
    left = world.rows(f"{ITS_STATE} WHERE {UNFINISHED} AND state <> 'held'")
    assert left == [], left
    assert world.rows("SELECT id FROM jobs WHERE state = 'held' AND (code IS NULL OR message IS NULL)") == []
    for job_id in world.jobs("state = 'held'"):
        world.retry(job_id)
    _work(world)
    left = world.rows(f"{ITS_STATE} WHERE {UNFINISHED}")
    assert left == [], left
    assert world.rows(OPEN) == []
    charges_are_in_the_ledger(world)


def _unblock(world: World) -> None:
    world.resume(None)
    world.close_breaker()
    for batch_id in world.batches:
        world.resume(batch_id)
        world.set_window(batch_id, is_open=None)
        world.set_budget(batch_id, None)
        world.approve(batch_id)
    for worker, lives in world.workers.items():
        if lives:
            world.kill(worker, keeps_answers=True)
    world.replay()
    world.rescue()
    world.messages.clear()
    world.start_worker()


def _work(world: World) -> None:
    """An honest worker carries out whatever is handed out, until nothing moves any more."""
    (worker,) = [worker for worker, lives in world.workers.items() if lives]
    for _ in range(ROUNDS):
        world.let_time_pass()
        world.tick(100)
        for message in world.messages:
            world.deliver(message, worker)
        world.messages.clear()
        if not world.hands and not world.jobs("standing IS NOT NULL"):
            return
        for hand in list(world.hands):
            if not hand.copies and isinstance(world.begin(hand), int):
                hand.url = world.endpoint.charge(hand.claim.job_id)
                world.read_answer(hand)
        for hand in list(world.hands):
            world.store_cutout(hand)
