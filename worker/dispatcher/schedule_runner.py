"""Fires schedules in the dispatcher's tick, and sees their runs through beside it."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout.models.database import connect, is_away
from cutout.queue.dispatch import Survey
from cutout.schedules.batch_windows import closed_batches, give_next_window
from cutout.schedules.finish import end, ended_runs, move_on, read_runs, runs_are_open
from cutout.schedules.fire import fire
from cutout.schedules.start import skip_overlapping, start, startable
from cutout.settings import Settings
from worker.background import Question

log = logging.getLogger(__name__)

FIRE_EVERY_S = 0.5
SEE_THROUGH_EVERY_S = 1.0
# What goes wrong for one run does not keep the others waiting.
REST_AFTER_ERROR_S = 60.0

Find = Callable[[Session], list[uuid.UUID]]
Move = Callable[[Session, uuid.UUID], None]


class ScheduleKeeper:
    """Fires on the leader's own connection. Beginning and ending runs takes longer: a thread with a
    connection of its own does it, one transaction for each; should two leaders meet, constraints decide.
    """

    def __init__(self, known: Settings) -> None:
        self._engine = _connect(known)
        self._fire_at = 0.0
        self._see_through_at = 0.0
        self._rests_until: dict[uuid.UUID, float] = {}
        self._seeing_through = Question("seeing runs through", self._see_through)

    def look(self, connection: Connection, _found: Survey) -> None:
        """Fire what is due, and ask the thread to see to runs if any are open."""
        now = time.monotonic()
        if now >= self._fire_at:
            self._fire_at = now + FIRE_EVERY_S
            if fired := fire(connection):
                log.info("fired %d runs", fired)
        if now >= self._see_through_at and not self._seeing_through.awaited:
            self._see_through_at = now + SEE_THROUGH_EVERY_S
            if runs_are_open(connection):
                self._seeing_through.ask()

    def _see_through(self) -> bool:
        try:
            with Session(self._engine) as session, session.begin():
                skip_overlapping(session)
            for find, move in self._steps():
                self._do(find, move)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is away; runs are seen to later")
        return True

    @staticmethod
    def _steps() -> Iterator[tuple[Find, Move]]:
        yield read_runs, move_on
        yield ended_runs, end
        yield closed_batches, give_next_window
        yield startable, start

    def _do(self, find: Find, move: Move) -> None:
        now = time.monotonic()
        self._rests_until = {one: until for one, until in self._rests_until.items() if until > now}
        with Session(self._engine) as session:
            found = [one for one in find(session) if one not in self._rests_until]
        for one in found:
            try:
                with Session(self._engine) as session, session.begin():
                    move(session, one)
            except IntegrityError:
                log.info("another dispatcher was faster at %s", one)
            except Exception as error:
                if is_away(error):
                    raise
                self._rests_until[one] = time.monotonic() + REST_AFTER_ERROR_S
                log.exception("a run or batch, %s, met an error that nobody expected", one)


def _connect(known: Settings) -> Engine:
    return connect(
        known.database_url.get_secret_value(), connections=1, name="cutout-schedules", check_first=True
    )
