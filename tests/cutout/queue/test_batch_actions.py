"""Actions: who may ask for what, in which order they are carried out, and how they go on after a death."""

import uuid
from collections.abc import Callable, Iterator
from itertools import groupby

import pytest
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.administration.suspend import suspend
from cutout.enums import ActionKind
from cutout.models import Job
from cutout.producers.producers import create_producer
from cutout.queue.attempts.attempts import NotBegun
from cutout.queue.attempts.outcomes import Fail
from cutout.queue.batch_actions import job_pages, portions
from cutout.queue.batch_actions.carry_out import MOST_TRIES, NIL, Portion, carry_on, fail, take_turn
from cutout.queue.batch_actions.portions import PORTIONS
from cutout.queue.batch_actions.request import request_action, request_cancel
from cutout.queue.batch_actions.unfinished import BatchIsEndingError
from cutout.queue.bulk import begin_cancelling
from cutout.status.batch_status import batch_status
from cutout.status.call_rate import CallSettings
from cutout.status.changes import settled_batches
from cutout.status.explain import explain_state
from tests.cutout.queue.test_pauses import batch_of
from tests.cutout.queue.test_pauses import begin as try_to_begin
from tests.support.actions import carry_out, turns
from tests.support.fates import make_batch
from tests.support.steps import claim_one, new_worker

BROKEN = Fail("BROKEN", "m")
CANCEL, RETRY, ADD = ActionKind.CANCEL, ActionKind.RETRY, ActionKind.ADD_OUTPUTS


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of two jobs, of which three are looked at."""
    monkeypatch.setattr(portions, "JOBS_A_PORTION", 2)
    monkeypatch.setattr(job_pages, "MOST_EXAMINED", 3)


@pytest.fixture
def shop(engine: Engine) -> uuid.UUID:
    return producer(engine, "shop")


def producer(engine: Engine, name: str) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return create_producer(session, name)[0].id


def batch(engine: Engine, producer_id: uuid.UUID, count: int) -> uuid.UUID:
    """A batch of so many jobs in line."""
    with Session(engine) as session, session.begin():
        return batch_of(session, count, producer_id=producer_id)


def failed(engine: Engine, producer_id: uuid.UUID, count: int) -> uuid.UUID:
    """A batch of so many jobs that failed."""
    return make_batch(engine, {str(n): BROKEN for n in range(count)}, producer_id=producer_id)


def ask(engine: Engine, batch_id: uuid.UUID, *kinds: ActionKind) -> list[bool]:
    with Session(engine) as session, session.begin():
        return [
            (request_cancel(session, batch_id) if kind is CANCEL else request_action(session, batch_id, kind))
            is not None
            for kind in kinds
        ]


def rows(engine: Engine) -> list[Row[str, int, bool, str | None]]:
    query = "SELECT kind, changed, finished_at IS NOT NULL AS finished, code FROM actions ORDER BY id"
    with engine.connect() as connection:
        return list(connection.execute(text(query)))


def counts(engine: Engine, batch_id: uuid.UUID) -> dict[str, int]:
    with Session(engine) as session:
        found = batch_status(session, batch_id)
        assert found is not None
        return {state: count for state, count in found.counts.items() if count}


def end_again(engine: Engine) -> None:
    """Let the jobs that were put back in the queue fail once more."""
    with Session(engine) as session, session.begin():
        worker_id = new_worker(session)
        for _ in range(session.scalars(text("SELECT count(*) FROM jobs WHERE state = 'queued'")).one()):
            queue.settle(session, claim_one(session, worker_id), BROKEN)


class TestACancel:
    def test_goes_through_all_jobs_in_portions(self, engine: Engine, shop: uuid.UUID) -> None:
        """It counts those that it cancelled; no other batch is touched."""
        batch_id, other = batch(engine, shop, 7), batch(engine, shop, 1)
        assert ask(engine, batch_id, CANCEL) == [True]
        assert carry_out(engine) == 4
        assert rows(engine) == [(CANCEL, 7, True, None)]
        assert (counts(engine, batch_id), counts(engine, other)) == ({"cancelled": 7}, {"queued": 1})

    def test_lets_no_call_begin_from_its_request_on(self, engine: Engine, shop: uuid.UUID) -> None:
        """Before its first portion, too."""
        batch_id = batch(engine, shop, 2)
        with Session(engine) as session, session.begin():
            claim = claim_one(session, new_worker(session))
        ask(engine, batch_id, CANCEL)
        with Session(engine) as session, session.begin():
            assert try_to_begin(session, claim) is NotBegun.CANCELLED

    def test_is_asked_for_once(self, engine: Engine, shop: uuid.UUID) -> None:
        """While it waits or goes on; of a batch that has ended there is nothing to cancel."""
        batch_id = batch(engine, shop, 5)
        assert ask(engine, batch_id, CANCEL, CANCEL) == [True, False]
        going = turns(engine)
        next(going)
        assert ask(engine, batch_id, CANCEL) == [False]
        assert len(list(going)) == 2
        assert ask(engine, batch_id, CANCEL) == [False]
        assert len(rows(engine)) == 1

    @pytest.mark.parametrize("under_way", [False, True])
    def test_ends_a_retry_that_was_asked_for_before(
        self, engine: Engine, shop: uuid.UUID, *, under_way: bool
    ) -> None:
        """It stands where it was; the batch stays cancelled."""
        batch_id = failed(engine, shop, 5)
        ask(engine, batch_id, RETRY)
        if under_way:
            next(turns(engine))
        else:
            make_ready(engine, batch_id)
        ask(engine, batch_id, CANCEL)
        carry_out(engine)
        (retry, cancel) = rows(engine)
        assert (retry.finished, retry.code) == (True, "BATCH_CANCELLED")
        assert (cancel.finished, cancel.changed) == (True, 2 if under_way else 1)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT cancelled_at IS NOT NULL FROM batches"))

    def test_by_the_operator_ends_a_retry_too(self, engine: Engine, shop: uuid.UUID) -> None:
        batch_id = failed(engine, shop, 5)
        ask(engine, batch_id, RETRY)
        with Session(engine) as session, session.begin():
            begin_cancelling(session, batch_id)
        assert carry_out(engine) == 0
        assert rows(engine) == [(RETRY, 0, True, "BATCH_CANCELLED")]

    def test_refuses_a_retry_while_it_goes_on(self, engine: Engine, shop: uuid.UUID) -> None:
        """Of the batch and of a job of it: it would let calls begin again. Afterwards it is done."""
        batch_id = failed(engine, shop, 3)
        make_ready(engine, batch_id)
        ask(engine, batch_id, CANCEL)
        job_id = first_failed(engine)
        with pytest.raises(BatchIsEndingError, match="is being cancelled; ask again once that is through"):
            ask(engine, batch_id, RETRY)
        for retry in (queue.retry, queue.release):
            with pytest.raises(BatchIsEndingError):
                moved(engine, retry, job_id)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT cancelled_at IS NOT NULL FROM batches"))
        carry_out(engine)
        assert ask(engine, batch_id, RETRY) == [True]
        carry_out(engine)
        assert counts(engine, batch_id) == {"queued": 2, "cancelled": 1}


def moved(engine: Engine, move: Callable[[Session, uuid.UUID], bool], job_id: uuid.UUID) -> None:
    """Release or retry a job, which is held before it is released."""
    with Session(engine) as session, session.begin():
        if move is queue.release:
            hold = "UPDATE jobs SET state = 'held', finished_at = NULL WHERE id = :id"
            session.execute(text(hold), {"id": job_id})
        move(session, job_id)


def make_ready(engine: Engine, batch_id: uuid.UUID) -> None:
    """The batch has one job in line."""
    with Session(engine) as session, session.begin():
        assert queue.retry(session, first_failed(engine))


def first_failed(engine: Engine) -> uuid.UUID:
    with engine.connect() as connection:
        found: uuid.UUID = connection.scalar(
            text("SELECT id FROM jobs WHERE state = 'failed' ORDER BY id LIMIT 1")
        )
        return found


class TestARetry:
    def test_puts_no_job_back_twice(self, engine: Engine, shop: uuid.UUID) -> None:
        """One that fails again while the others are put back stays failed: each call costs a credit."""
        batch_id = failed(engine, shop, 5)
        ask(engine, batch_id, RETRY)
        for _ in turns(engine):
            end_again(engine)
        assert rows(engine) == [(RETRY, 5, True, None)]
        assert counts(engine, batch_id) == {"failed": 5}

    def test_puts_no_job_back_twice_after_a_death(self, engine: Engine, shop: uuid.UUID) -> None:
        """Though the next leader began at the first job again."""
        batch_id = failed(engine, shop, 3)
        ask(engine, batch_id, RETRY)
        next(turns(engine))
        end_again(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE actions SET position = NULL"))
        carry_out(engine)
        assert counts(engine, batch_id) == {"failed": 2, "queued": 1}

    def test_leaves_the_batch_active_until_it_is_through(self, engine: Engine, shop: uuid.UUID) -> None:
        """Nobody who waits is told that all is done; its jobs say that they will be retried."""
        batch_id = failed(engine, shop, 1)
        with Session(engine) as session:
            assert settled_batches(session, [batch_id]) == [batch_id]
        ask(engine, batch_id, RETRY)
        with Session(engine) as session:
            found = batch_status(session, batch_id)
            assert found is not None
            assert (found.state, found.finished_at, found.is_rendered) == ("active", None, False)
            assert settled_batches(session, [batch_id]) == []
            why = explain_state(session, session.get_one(Job, first_failed(engine)), CallSettings(()))
            assert why.why == "batch-retrying"


class TestTurns:
    def test_are_taken_by_producers_in_turn(self, engine: Engine, shop: uuid.UUID) -> None:
        """A small action is through after one portion of another producer's large one."""
        large, small = batch(engine, shop, 20), batch(engine, producer(engine, "other"), 1)
        ask(engine, large, CANCEL)
        ask(engine, small, CANCEL)
        taken = [turn.batch_id for turn in turns(engine)]
        assert small in taken[:2]
        assert taken.count(large) == 11

    def test_are_taken_by_one_action_of_a_batch_at_a_time(self, engine: Engine, shop: uuid.UUID) -> None:
        """In the order of their requests, also if a second of one kind was asked for meanwhile."""
        batch_id = failed(engine, shop, 3)
        assert ask(engine, batch_id, RETRY, ADD, RETRY) == [True, True, False]
        going = turns(engine)
        assert next(going).kind is RETRY
        assert ask(engine, batch_id, RETRY) == [True]
        assert [kind for kind, _ in groupby(turn.kind for turn in going)] == [RETRY, ADD, RETRY]

    def test_are_not_taken_by_a_suspended_producer(self, engine: Engine, shop: uuid.UUID) -> None:
        ask(engine, failed(engine, shop, 1), RETRY)
        with Session(engine) as session, session.begin():
            suspend(session, shop)
        assert carry_out(engine) == 0

    def test_undo_a_portion_that_breaks_off(self, engine: Engine, shop: uuid.UUID) -> None:
        """Its jobs and its position are changed together; the next try does it once."""
        batch_id = batch(engine, shop, 3)
        ask(engine, batch_id, CANCEL)
        turn = take_turn(engine, list(PORTIONS), NIL)
        assert turn is not None

        def broken(*given: object) -> Portion:
            portions.cancel_portion(*given)  # type: ignore[arg-type]
            raise RuntimeError

        with pytest.raises(RuntimeError):
            carry_on(engine, turn.action_id, broken)
        assert counts(engine, batch_id) == {"queued": 3}
        fail(engine, turn)
        assert carry_out(engine) == 0
        due_now(engine)
        assert carry_out(engine) == 2
        assert rows(engine) == [(CANCEL, 3, True, None)]

    def test_end_after_many_deaths_in_succession(self, engine: Engine, shop: uuid.UUID) -> None:
        """An action that kills its process is given up, and says so; those behind it go on."""
        batch_id = batch(engine, shop, 1)
        ask(engine, batch_id, CANCEL, ADD)
        for _ in range(MOST_TRIES):
            assert take_turn(engine, list(PORTIONS), NIL) is not None
        carry_out(engine)
        assert [(row.kind, row.finished, row.code) for row in rows(engine)] == [
            (CANCEL, True, "INTERNAL_ERROR"),
            (ADD, True, None),
        ]

    def test_of_two_processes_carry_out_a_portion_once(self, engine: Engine, shop: uuid.UUID) -> None:
        """Two leaders for a moment: the second finds the row locked, or the position moved on."""
        batch_id = batch(engine, shop, 4)
        ask(engine, batch_id, CANCEL)
        first, second = (take_turn(engine, list(PORTIONS), NIL) for _ in range(2))
        assert first is not None
        assert second is not None

        def slowly(*given: object) -> Portion:
            assert not carry_on(engine, second.action_id, PORTIONS[CANCEL])
            return portions.cancel_portion(*given)  # type: ignore[arg-type]

        assert carry_on(engine, first.action_id, slowly)
        assert carry_on(engine, second.action_id, PORTIONS[CANCEL])
        carry_out(engine)
        assert rows(engine) == [(CANCEL, 4, True, None)]


def due_now(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE actions SET due_at = now()"))


@pytest.fixture(autouse=True)
def whole(engine: Engine) -> Iterator[None]:
    """After each test: no finished action has a position, and none is finished that never began."""
    yield
    with engine.connect() as connection:
        finished = "SELECT count(*) FROM actions WHERE finished_at IS NOT NULL AND code IS NULL"
        assert connection.scalar(text(f"{finished} AND position IS NOT NULL")) == 0
