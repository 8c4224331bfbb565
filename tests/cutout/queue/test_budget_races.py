"""Races on budgets: a statement reads a budget while another connection writes it."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.queue.attempts.attempts import NotBegun
from cutout.queue.blocks import pauses
from cutout.queue.claims import Claim
from tests.cutout.queue.test_pauses import batch_of, begin
from tests.support.steps import claim_one, new_worker
from tests.support.system import wait_until

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def made(engine: Engine, jobs: int, budget: int) -> tuple[uuid.UUID, list[Claim]]:
    with Session(engine) as session, session.begin():
        worker_id = new_worker(session)
        batch_id = batch_of(session, jobs, budget=budget)
        return batch_id, [claim_one(session, worker_id) for _ in range(jobs)]


def is_waiting(engine: Engine, count: int) -> Callable[[], bool]:
    def asked() -> bool:
        with engine.connect() as connection:
            return int(connection.execute(text(WAITING)).scalar_one()) >= count

    return asked


def test_a_budget_that_is_raised_while_a_call_begins_counts_it(engine: Engine) -> None:
    """The call's credit is taken and not visible yet: of a budget of two, only one more call may begin."""
    batch_id, claims = made(engine, 3, budget=1)

    def raise_it() -> None:
        with Session(engine) as session, session.begin():
            pauses.set_budget(session, batch_id, 2)

    with ThreadPoolExecutor(1) as pool:
        with Session(engine) as session, session.begin():
            assert isinstance(begin(session, claims[0]), int)
            raised = pool.submit(raise_it)
            wait_until(is_waiting(engine, 1), "the budget waits for the call's credit")
        raised.result()
    with Session(engine) as session, session.begin():
        begun = [begin(session, claim) for claim in claims[1:]]
    assert [isinstance(what, int) for what in begun] == [True, False]


def test_the_days_credit_is_taken_only_with_the_batchs(engine: Engine) -> None:
    """Three workers want the last credit of a batch: one call begins, and it costs the day one credit."""
    batch_id, claims = made(engine, 3, budget=1)

    def try_it(claim: Claim) -> int | NotBegun:
        with Session(engine) as session, session.begin():
            return begin(session, claim, day_budget=100)

    with ThreadPoolExecutor(3) as pool:
        with engine.begin() as connection:
            # All of them have looked, and none has its credit yet.
            connection.execute(text("SELECT FROM batches WHERE id = :id FOR UPDATE"), {"id": batch_id})
            tried = [pool.submit(try_it, claim) for claim in claims]
            wait_until(is_waiting(engine, len(claims)), "all wait for the batch's row")
        begun = [each.result() for each in tried]
    assert sum(isinstance(what, int) for what in begun) == 1
    with engine.connect() as connection:
        spent = connection.execute(
            text("SELECT b.spent, (SELECT sum(spent) FROM spending) FROM batches b")
        ).one()
    assert spent == (1, 1)
