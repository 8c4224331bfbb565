"""Undo: for ten seconds, as long as nobody changed the same thing since."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.actions import Actor, Asked, RightMissingError
from cutout.actions.batches import (
    cancel_batch,
    pause_all,
    pause_batch,
    resume_all,
    resume_batch,
    set_budget,
)
from cutout.actions.schedules import find_schedule, pause_schedule, resume_schedule
from cutout.actions.undo import UNDO_SECONDS, NotUndoneError, undo
from cutout.enums import Role
from tests.cutout.actions.conftest import batch_of, operator, set_

Do = Callable[[Session, Asked], uuid.UUID | None]
SCHEDULE = """
    INSERT INTO schedules (id, name, source, options, cron, zone, next_fire_at, next_due_at)
    VALUES (:id, 'nightly', 's3://b/p/', '{}', '0 1 * * *', 'UTC',
        now() + interval '1 h', now() + interval '1 h')
"""
SCHEDULE_ID = uuid.UUID(int=5)
STATES = {
    "batch": "SELECT paused_at IS NOT NULL OR paused_by_operator_at IS NOT NULL FROM batches",
    "all": "SELECT paused_at IS NOT NULL FROM queue_clock",
    "schedule": "SELECT paused_by_operator_at IS NOT NULL FROM schedules",
}


def done(engine: Engine, do: Do, asked: Asked) -> uuid.UUID:
    """The id of the action that it recorded."""
    with Session(engine) as session, session.begin():
        action_id = do(session, asked)
    assert action_id is not None
    return action_id


def undone(engine: Engine, action_id: uuid.UUID, asked: Asked) -> None:
    with Session(engine) as session, session.begin():
        undo(session, asked, action_id)


def is_paused(engine: Engine, subject: str) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text(STATES[subject])))


@pytest.fixture
def things(engine: Engine) -> dict[str, tuple[Do, Do]]:
    """Of each subject a pause and a resumption."""
    batch_id = batch_of(engine, {"new": None})
    set_(engine, SCHEDULE, id=SCHEDULE_ID)

    def of_schedule(change: Callable[..., uuid.UUID | None]) -> Do:
        return lambda session, asked: change(session, asked, find_schedule(session, SCHEDULE_ID))

    return {
        "batch": (
            lambda session, asked: pause_batch(session, asked, batch_id),
            lambda session, asked: resume_batch(session, asked, batch_id),
        ),
        "all": (pause_all, resume_all),
        "schedule": (of_schedule(pause_schedule), of_schedule(resume_schedule)),
    }


@pytest.mark.parametrize("subject", STATES)
class TestEachSubject:
    def test_is_as_before(
        self, engine: Engine, things: dict[str, tuple[Do, Do]], ana: Asked, subject: str
    ) -> None:
        """The row of the action says by whom it was undone; there is no other row."""
        pause, resume = things[subject]
        undone(engine, done(engine, pause, ana), Asked(operator("bea")))
        assert not is_paused(engine, subject)
        done(engine, pause, ana)
        resumption = done(engine, resume, ana)
        assert not is_paused(engine, subject)
        undone(engine, resumption, ana)
        assert is_paused(engine, subject)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT kind, actor, undone_by FROM actions ORDER BY id")).all()
        assert [tuple(row)[1:] for row in rows] == [("ana", "bea"), ("ana", None), ("ana", "ana")]

    def test_is_left_alone_if_it_was_changed_since(
        self, engine: Engine, things: dict[str, tuple[Do, Do]], ana: Asked, subject: str
    ) -> None:
        """Also if it is in the same state again."""
        pause, resume = things[subject]
        first = done(engine, pause, ana)
        resumption = done(engine, resume, ana)
        done(engine, pause, ana)
        for action_id in (first, resumption):
            with pytest.raises(NotUndoneError, match="changed again since"):
                undone(engine, action_id, ana)
        assert is_paused(engine, subject)


class TestUndo:
    def test_is_once(self, engine: Engine, ana: Asked) -> None:
        """Of two at once one is told that the other did it."""
        action_id = done(engine, pause_all, ana)

        def try_to(name: str) -> str:
            try:
                undone(engine, action_id, Asked(operator(name)))
            except NotUndoneError as error:
                return str(error)
            return name

        with ThreadPoolExecutor(2) as pool:
            said = sorted(pool.map(try_to, ("bea", "cem")), key=len)
        assert said == [said[0], f"it was undone already, by {said[0]}"]
        assert not is_paused(engine, "all")

    def test_is_for_a_short_time(self, engine: Engine, ana: Asked) -> None:
        action_id = done(engine, pause_all, ana)
        late = "UPDATE actions SET requested_at = requested_at - make_interval(secs => :s)"
        set_(engine, late, s=UNDO_SECONDS)
        with pytest.raises(NotUndoneError, match="more than 10 s have passed"):
            undone(engine, action_id, ana)
        assert is_paused(engine, "all")

    def test_is_not_of_what_spends_or_is_final(self, engine: Engine, ana: Asked) -> None:
        batch_id = batch_of(engine, {"new": None})
        budget = done(engine, lambda session, asked: set_budget(session, asked, batch_id, 5), ana)
        end = done(engine, lambda session, asked: cancel_batch(session, asked, batch_id), ana)
        for action_id in (budget, end):
            with pytest.raises(NotUndoneError, match="cannot be undone"):
                undone(engine, action_id, ana)
        with pytest.raises(NotUndoneError, match="there is no action"):
            undone(engine, uuid.uuid4(), ana)

    def test_needs_the_right_to_do_it(self, engine: Engine, ana: Asked) -> None:
        action_id = done(engine, pause_all, ana)
        with pytest.raises(RightMissingError, match="needs the right `operate`"):
            undone(engine, action_id, Asked(operator("eye", "view")))
        assert is_paused(engine, "all")

    def test_of_another_needs_the_right_to_do_the_opposite(
        self, engine: Engine, things: dict[str, tuple[Do, Do]], ana: Asked
    ) -> None:
        """Resuming a schedule may spend: who may only operate takes back a pause of its own, no other's."""
        pause, _ = things["schedule"]
        ben = Asked(operator("ben", "operate"))
        action_id = done(engine, pause, ana)
        with pytest.raises(RightMissingError, match="needs the right `spend`"):
            undone(engine, action_id, ben)
        undone(engine, action_id, ana)
        undone(engine, done(engine, pause, ben), ben)
        assert not is_paused(engine, "schedule")

    def test_of_a_producer_is_of_its_own_alone(self, engine: Engine, shop: uuid.UUID, ana: Asked) -> None:
        """Not of another's, nor of what an operator did to its batch."""
        batch_id = batch_of(engine, {"new": None}, shop)
        own = Asked(Actor(Role.PRODUCER, "shop", uuid.uuid4(), shop))
        other = Asked(Actor(Role.PRODUCER, "other", uuid.uuid4(), uuid.uuid4()))

        def pause(session: Session, asked: Asked) -> uuid.UUID | None:
            return pause_batch(session, asked, batch_id)

        by_producer, by_operator = done(engine, pause, own), done(engine, pause, ana)
        for asked, action_id in ((other, by_producer), (own, by_operator)):
            with pytest.raises(NotUndoneError, match="no action"):
                undone(engine, action_id, asked)
        undone(engine, by_producer, own)
        assert is_paused(engine, "batch")

    def test_of_a_resumption_restores_the_time_of_the_pause(self, engine: Engine, ana: Asked) -> None:
        """It was paused since then."""
        pause = done(engine, pause_all, ana)
        undone(engine, done(engine, resume_all, ana), ana)
        same = "SELECT paused_at = requested_at FROM queue_clock, actions WHERE actions.id = :id"
        with engine.connect() as connection:
            assert connection.scalar(text(same), {"id": pause}) is True
