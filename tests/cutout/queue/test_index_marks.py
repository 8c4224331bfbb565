"""Where a dispatcher begins to look in each line, and what may come in before that."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import Priority, Step
from cutout.producers.producers import create_producer
from cutout.queue import dispatch, index_marks
from cutout.queue.blocks.blocked_jobs import Parked
from cutout.queue.blocks.download_limit import Downloads, Returns
from cutout.queue.blocks.pauses import pause, resume
from cutout.queue.dispatch import HAND_OUT_CALLS, SURVEY
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.index_marks import LOOK_AT_LEAST_EVERY_S, LOOK_EVERY_S, LineMarks
from cutout.queue.reuse.same_picture import Twins
from cutout.queue.reuse.serve_reused import NO_SHELF
from cutout.queue.snapshot_marks import Marks
from tests.support.explained import buffers, explained
from tests.support.steps import LEASE, SOURCE

LEFT, STAY = 2000, 100
PRODUCERS = 3


class Dispatcher:
    """What hands out, with marks and a clock of its own; each line that jobs left is marked at a look."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.now_s = 0.0
        self.lines = LineMarks(lambda: self.now_s)
        self.returns = Returns()

    def later(self, seconds: float = LOOK_EVERY_S) -> None:
        """Some seconds pass, and it surveys."""
        self.now_s += seconds
        self.survey()

    def survey(self) -> dispatch.Survey:
        return dispatch.survey(self.connection, [], lines=self.lines)

    def hand_out(self, count: int = 1) -> queue.HandedOut:
        return dispatch.hand_out(self.connection, count, lease=LEASE, lines=self.lines).calls

    def next(self) -> uuid.UUID | None:
        """The job that goes next."""
        return next((job_id for job_id, _ in self.hand_out()), None)

    def goes_on(self) -> queue.HandedOut:
        """Two jobs of each producer are out and every line is marked where it goes on; what was out."""
        self.survey()
        handed_out = self.hand_out(2 * PRODUCERS)
        self.later()
        assert self.lines.are_set
        return handed_out


@pytest.fixture
def own(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.fixture
def dispatcher(own: Connection, monkeypatch: pytest.MonkeyPatch) -> Dispatcher:
    monkeypatch.setattr(index_marks, "WORTH_A_MARK_S", 0.0)
    return Dispatcher(own)


@pytest.fixture
def producers(engine: Engine) -> list[uuid.UUID]:
    """Three with ten jobs each."""
    with Session(engine) as session, session.begin():
        ids = [create_producer(session, f"p{n}")[0].id for n in range(PRODUCERS)]
        for producer_id in ids:
            enqueue_all(session, [NewJob(SOURCE)] * 10, producer_id=producer_id)
    return ids


def add(engine: Engine, producer_id: uuid.UUID | None, priority: Priority = Priority.NORMAL) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return enqueue(session, NewJob(SOURCE, priority=priority), producer_id=producer_id)


def change(own: Connection, job_id: uuid.UUID, values: str) -> None:
    own.execute(text(f"UPDATE jobs SET {values} WHERE id = :id"), {"id": job_id})  # noqa: S608 - constants


def all_that_goes(dispatcher: Dispatcher) -> list[uuid.UUID]:
    return [job_id for job_id, _ in dispatcher.hand_out(1000)]


class TestWhatComesInBeforeAMark:
    """Nothing of it waits for the next look, if the same dispatcher puts it back."""

    @pytest.mark.usefixtures("producers")
    def test_after_a_rest(self, dispatcher: Dispatcher, own: Connection) -> None:
        ((first, _), *_) = dispatcher.goes_on()
        change(own, first, "standing = 'resting', scheduled_at = now()")
        assert dispatch.wake(own, lines=dispatcher.lines) == 1
        assert first in dict(dispatcher.hand_out(PRODUCERS))

    @pytest.mark.usefixtures("producers")
    def test_after_its_producers_bound(self, dispatcher: Dispatcher, own: Connection) -> None:
        ((first, _), *_) = dispatcher.goes_on()
        change(own, first, "standing = 'source_limit'")
        assert dispatcher.returns.bring_back(own, Downloads(32), dispatcher.lines) == 1
        assert first in dict(dispatcher.hand_out(PRODUCERS))

    @pytest.mark.usefixtures("producers")
    def test_after_it_waited_for_another(self, dispatcher: Dispatcher, own: Connection) -> None:
        ((first, _), (other, _), *_) = dispatcher.goes_on()
        change(own, other, "state = 'failed', standing = NULL, code = 'C', finished_at = now()")
        change(own, first, f"standing = 'waiting', waits_for = '{other}', source_sha256 = 'x'")
        assert Twins().look(own, dispatcher.lines) == 1
        assert first in dict(dispatcher.hand_out(PRODUCERS))

    def test_after_its_batch_was_paused(
        self, engine: Engine, dispatcher: Dispatcher, own: Connection
    ) -> None:
        with Session(engine) as session, session.begin():
            batch_id = create_batch(session, "b").id
            enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(5)], batch_id=batch_id)
            pause(session, batch_id)
        for _ in range(2):
            assert dispatcher.hand_out(5) == []
            dispatcher.later()
        with Session(engine) as session, session.begin():
            resume(session, batch_id)
        assert Parked().bring_back(own, dispatcher.lines) == 5
        assert len(dispatcher.hand_out(5)) == 5

    @pytest.mark.usefixtures("producers")
    @pytest.mark.parametrize("took_s", [0.0, 1.0, 1e6])
    def test_by_anybody_else_goes_within_ten_seconds(
        self, dispatcher: Dispatcher, own: Connection, took_s: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long it takes to look, what a worker gave back is found."""
        handed_out = dispatcher.goes_on()
        look = LineMarks._mark
        monkeypatch.setattr(LineMarks, "_mark", lambda self, database: look(self, database) + took_s)
        dispatcher.later()
        for job_id, fence in handed_out:
            assert queue.hand_back(own, job_id, fence)
        dispatcher.later(LOOK_AT_LEAST_EVERY_S)
        assert dict(handed_out).keys() <= dict(dispatcher.hand_out(2 * PRODUCERS)).keys()


class TestWhatComesInBehindAMark:
    """It is found at once."""

    def test_of_a_new_producer(
        self, engine: Engine, dispatcher: Dispatcher, producers: list[uuid.UUID]
    ) -> None:
        """Wherever it is between the marked ones."""
        dispatcher.goes_on()
        new = {add(engine, None)}
        with Session(engine) as session, session.begin():
            for _ in range(4):
                new.add(enqueue(session, NewJob(SOURCE), producer_id=create_producer(session, "n")[0].id))
        assert new <= dict(dispatcher.hand_out(2 * (PRODUCERS + len(new)))).keys()
        assert producers

    @pytest.mark.parametrize("were_there", [0, 3])
    def test_of_a_better_priority(
        self, engine: Engine, dispatcher: Dispatcher, producers: list[uuid.UUID], were_there: int
    ) -> None:
        """Whether or not that line was marked when it was empty."""
        for _ in range(were_there):
            add(engine, producers[0], Priority.INTERACTIVE)
        dispatcher.goes_on()
        urgent = add(engine, producers[0], Priority.INTERACTIVE)
        assert dispatcher.survey().in_line[Step.CALL]
        assert dispatcher.next() == urgent

    def test_of_a_line_that_was_empty(
        self, engine: Engine, dispatcher: Dispatcher, producers: list[uuid.UUID]
    ) -> None:
        """Nothing is in line, and then one job of each."""
        all_that_goes(dispatcher)
        dispatcher.later()
        assert not dispatcher.survey().in_line[Step.CALL]
        new = {add(engine, producer_id) for producer_id in producers}
        assert dispatcher.survey().in_line[Step.CALL]
        assert {*all_that_goes(dispatcher)} == new


@pytest.mark.usefixtures("producers")
def test_marked_lines_are_served_in_the_same_order(dispatcher: Dispatcher, own: Connection) -> None:
    """Each job once, as without marks."""
    dispatcher.goes_on()
    expected = own.execute(text("SELECT id FROM jobs WHERE standing = 'in_line'")).scalars().all()
    went = []
    while handed_out := dispatcher.hand_out(PRODUCERS):
        owners = own.scalars(
            text("SELECT producer_id FROM jobs WHERE id = ANY(:ids)"), {"ids": [i for i, _ in handed_out]}
        )
        assert len({*owners}) == PRODUCERS
        went += handed_out
        dispatcher.later(1.0)
    assert sorted(i for i, _ in went) == sorted(expected)


@pytest.mark.usefixtures("producers")
def test_a_line_that_is_quickly_looked_at_has_no_mark(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without an old snapshot, and once it is gone."""
    dispatcher.goes_on()
    monkeypatch.setattr(index_marks, "WORTH_A_MARK_S", 60.0)
    dispatcher.later()
    assert not dispatcher.lines.are_set


class TestBesideAnOldSnapshot:
    @pytest.fixture
    def _left(self, engine: Engine, own: Connection) -> Iterator[None]:
        """Many jobs of one producer left the line, and somebody sees them there."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)] * (LEFT + STAY))
        own.execute(text("ANALYZE"))
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as other:
            other.execute(text("SELECT count(*) FROM jobs"))
            yield

    @pytest.mark.usefixtures("_left")
    @pytest.mark.parametrize("count", [LEFT, LEFT + STAY], ids=["some are left", "none is left"])
    def test_what_left_a_line_is_not_passed_again(
        self, own: Connection, dispatcher: Dispatcher, count: int
    ) -> None:
        """Nor by a leader that begins now and finds the line like that."""
        dispatcher.hand_out(count)
        dispatcher.later()
        successor = Dispatcher(own)
        successor.survey()
        far, near, anew = (
            self.pages(own, lines) for lines in (LineMarks(), dispatcher.lines, successor.lines)
        )
        assert max(near, anew) < far * 0.6

    @staticmethod
    def pages(own: Connection, lines: LineMarks) -> int:
        """That a survey and a handing out look at."""
        marks = Marks()
        own.execute(text("BEGIN"))
        asked: dict[str, Any] = {"accounts": [], "day_budget": None, "lease": timedelta(0)}
        asked |= {"since": marks.outstanding, "due_since": marks.due, **lines.as_parameters()}
        handing = {"count": 1, "lease": LEASE, "left_out": [], **NO_SHELF, **lines.as_parameters()}
        survey, hand_out = SURVEY[lines.are_set], HAND_OUT_CALLS[lines.are_set, False]
        plans = [
            own.scalar(explained(hand_out.statement), handing)[0]["Plan"],
            own.scalar(explained(survey.statement), asked)[0]["Plan"],
        ]
        own.execute(text("ROLLBACK"))
        return sum(map(buffers, plans))
