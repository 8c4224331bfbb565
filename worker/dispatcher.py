"""Hands out due work, rescues the jobs of dead workers, probes a paused account. Run two: one leads."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from jobs import accounts, line, workers
from jobs.database import connect
from jobs.settings import Settings, settings
from jobs.states import Step
from worker.handout import publish
from worker.probe import account_works

log = logging.getLogger(__name__)

LEADER_LOCK = 7_201_002
TICK_S = 0.2
STANDBY_S = 2.0
RESCUE_EVERY_S = 5.0
# Twice what can be in flight keeps every thread busy between two ticks; the rest waits in Postgres,
# where a pause or a better place still counts.
MESSAGES_PER_CALL_IN_FLIGHT = 2
SPARE_MESSAGES = 8
MOST_COPIES_OUTSTANDING = 200


class Dispatcher:
    """One process. The connection that holds the leader's lock does the work: losing one ends both.

    Each statement commits by itself, so that a message is never sent before its job can be claimed.
    """

    def __init__(self, known: Settings, engine: Engine) -> None:
        self._settings = known
        self._engine = engine
        self._stopping = threading.Event()
        self._account = accounts.account_name(known.endpoint_api_key)
        self._lease = timedelta(seconds=known.message_lease_seconds)
        self._silence = timedelta(seconds=known.worker_silence_seconds)
        self._windows = {
            Step.COPY: MOST_COPIES_OUTSTANDING,
            Step.CALL: known.calls_in_flight * MESSAGES_PER_CALL_IN_FLIGHT + SPARE_MESSAGES,
        }
        self._rescued_at = 0.0

    def stop(self) -> None:
        """Make run() return after the present tick."""
        self._stopping.set()

    def run(self) -> None:
        """Lead or stand by until stopped."""
        while not self._stopping.is_set():
            try:
                with self._engine.connect() as connection:
                    self._stand_by(connection)
                    self._lead(connection)
            except DBAPIError as error:
                log.warning("Postgres is away (%s), trying again", type(error.orig).__name__)
                self._stopping.wait(STANDBY_S)

    def _stand_by(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            leads = connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
            connection.commit()
            if leads:
                log.info("this dispatcher leads")
                return
            self._stopping.wait(STANDBY_S)

    def _lead(self, connection: Connection) -> None:
        accounts.ensure(connection, self._account)
        while not self._stopping.is_set():
            began = time.monotonic()
            self._tick(connection)
            self._stopping.wait(max(TICK_S - (time.monotonic() - began), 0.0))

    def _tick(self, connection: Connection) -> None:
        if time.monotonic() - self._rescued_at > RESCUE_EVERY_S:
            self._rescue(connection)
        found = line.survey(connection, self._account)
        if found.due:
            line.wake(connection)
        for step in (Step.COPY, Step.CALL):
            room = self._windows[step] - found.outstanding[step]
            blocked = step is Step.CALL and found.paused and not self._reopen(connection)
            if found.in_line[step] and room > 0 and not blocked:
                handed_out = line.hand_out(connection, step, room, lease=self._lease)
                publish(step, handed_out, lease=self._lease)

    def _rescue(self, connection: Connection) -> None:
        self._rescued_at = time.monotonic()
        rescued = workers.rescue(
            connection, silence=self._silence, unknowns_allowed=self._settings.retry_unknown
        )
        if rescued:
            log.warning("rescued %d jobs of workers that are gone", rescued)

    def _reopen(self, connection: Connection) -> bool:
        """Ask, from time to time, whether a paused account works again; a question costs no credit."""
        if not accounts.due_for_probe(connection, self._account) or not account_works(self._settings):
            return False
        accounts.resume(connection, self._account)
        log.info("the account %s works again", self._account)
        return True


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    known = settings()
    engine = connect(
        known.database_url.get_secret_value(),
        connections=1,
        name="cutout-dispatcher",
        check_first=False,
        autocommit=True,
    )
    dispatcher = Dispatcher(known, engine)
    _on_signals(dispatcher.stop)
    dispatcher.run()


def _on_signals(stop: Callable[[], None]) -> None:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


if __name__ == "__main__":
    main()
