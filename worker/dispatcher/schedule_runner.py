"""Duty: fire schedules in the tick, and advance their runs in a background task."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout.models.database import connect, is_away
from cutout.queue.snapshot import QueueSnapshot
from cutout.schedules.batch_windows import closed_batches, set_next_window
from cutout.schedules.finish import advance, end, ended_runs, read_runs, runs_are_open
from cutout.schedules.fire import fire
from cutout.schedules.start import skip_overlapping, start, startable
from cutout.settings import Settings
from worker.background import BackgroundTask

log = logging.getLogger(__name__)

FIRE_EVERY_S = 0.5
ADVANCE_EVERY_S = 1.0
# An error in one run does not delay the others.
PAUSE_AFTER_ERROR_S = 60.0

Find = Callable[[Session], list[uuid.UUID]]
Change = Callable[[Session, uuid.UUID], None]


class ScheduleRunner:
    """Fires on the leader's own connection. Starting and ending runs takes longer: a thread with its own
    connection does it, with one transaction for each. If two dispatchers lead, constraints decide.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = _connect(settings)
        self._fire_at = 0.0
        self._advance_at = 0.0
        self._paused_until: dict[uuid.UUID, float] = {}
        self._advancing = BackgroundTask("advancing runs of schedules", self._advance)

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Fire due schedules, and start the background task if any run is open."""
        now = time.monotonic()
        if now >= self._fire_at:
            self._fire_at = now + FIRE_EVERY_S
            if fired := fire(connection):
                log.info("fired %d runs", fired)
        if now >= self._advance_at and not self._advancing.running:
            self._advance_at = now + ADVANCE_EVERY_S
            if runs_are_open(connection):
                self._advancing.start()

    def _advance(self) -> bool:
        try:
            with Session(self._engine) as session, session.begin():
                skip_overlapping(session)
            for find, change in self._steps():
                self._apply(find, change)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is unreachable; runs of schedules are advanced later")
        return True

    def _steps(self) -> Iterator[tuple[Find, Change]]:
        yield read_runs, advance
        yield ended_runs, end
        yield closed_batches, set_next_window
        yield startable, self._start

    def _start(self, session: Session, run_id: uuid.UUID) -> None:
        start(session, run_id, self._settings)

    def _apply(self, find: Find, change: Change) -> None:
        now = time.monotonic()
        self._paused_until = {each: until for each, until in self._paused_until.items() if until > now}
        with Session(self._engine) as session:
            found = [each for each in find(session) if each not in self._paused_until]
        for each in found:
            try:
                with Session(self._engine) as session, session.begin():
                    change(session, each)
            except IntegrityError:
                log.info("another dispatcher has changed %s already", each)
            except Exception as error:
                if is_away(error):
                    raise
                self._paused_until[each] = time.monotonic() + PAUSE_AFTER_ERROR_S
                log.exception("unexpected error in the run or batch %s", each)


def _connect(settings: Settings) -> Engine:
    return connect(
        settings.database_url.get_secret_value(), connections=1, name="cutout-schedules", check_first=True
    )
