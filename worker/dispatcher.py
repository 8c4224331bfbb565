"""Hands out due work, rescues the jobs of dead workers, probes what is paused. Run two: one leads."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import FrameType

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from jobs import accounts, breaker, line, workers
from jobs.database import connect
from jobs.settings import Settings, settings
from jobs.states import Step
from jobs.storage import Bucket
from jobs.store import Bounds
from worker.background import Question
from worker.handout import publish
from worker.probe import account_works, bucket_works
from worker.watch import HeartWatch

log = logging.getLogger(__name__)

LEADER_LOCK = 7_201_002
TICK_S = 0.2
STANDBY_S = 2.0
LOOKS_WITHIN_SILENCE = 6
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
        self._dying_within = timedelta(seconds=known.lifeboat_seconds)
        self._bounds = Bounds(known.retry_unknown, known.retry_lost)
        self._watch = HeartWatch(known.worker_silence_seconds)
        self._window = known.calls_in_flight * MESSAGES_PER_CALL_IN_FLIGHT + SPARE_MESSAGES
        self._watched_at = 0.0
        threads = ThreadPoolExecutor(2, thread_name_prefix="probe")
        self._account_works = Question(threads, lambda: account_works(known))
        bucket = Bucket(known, connections=1)
        self._bucket_works = Question(threads, lambda: bucket_works(bucket))

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
        self._watch = HeartWatch(self._settings.worker_silence_seconds)
        while not self._stopping.is_set():
            began = time.monotonic()
            self._tick(connection)
            self._stopping.wait(max(TICK_S - (time.monotonic() - began), 0.0))

    def _tick(self, connection: Connection) -> None:
        self._rescue(connection)
        found = line.survey(connection, self._account)
        if found.due:
            line.wake(connection)
        if found.paused:
            self._probe_account(connection)
        if found.away:
            self._probe_bucket(connection)
        self._hand_out_copies(connection, found)
        self._hand_out_calls(connection, found)

    def _hand_out_copies(self, connection: Connection, found: line.Survey) -> None:
        room = MOST_COPIES_OUTSTANDING - found.outstanding[Step.COPY]
        if found.in_line[Step.COPY] and room > 0:
            dying_within = self._dying_within if found.away else None
            handed_out = line.hand_out_copies(connection, room, lease=self._lease, dying_within=dying_within)
            publish(Step.COPY, handed_out, lease=self._lease)

    def _hand_out_calls(self, connection: Connection, found: line.Survey) -> None:
        room = self._window - found.outstanding[Step.CALL]
        if found.in_line[Step.CALL] and room > 0 and not found.paused and not found.away:
            publish(Step.CALL, line.hand_out_calls(connection, room, lease=self._lease), lease=self._lease)

    def _rescue(self, connection: Connection) -> None:
        every = self._settings.worker_silence_seconds / LOOKS_WITHIN_SILENCE
        if time.monotonic() - self._watched_at < every:
            return
        self._watched_at = time.monotonic()
        gone = self._watch.gone(workers.heartbeats(connection))
        if gone:
            rescued = workers.rescue(connection, gone, self._bounds)
            log.warning("rescued %d jobs of %d workers that are gone", rescued, len(gone))

    def _probe_account(self, connection: Connection) -> None:
        """Ask, from time to time, whether a paused account works again; a question costs no credit."""
        if self._account_works.answered_yes():
            accounts.resume(connection, self._account)
            log.info("the account %s works again", self._account)
        elif accounts.due_for_probe(connection, self._account):
            self._account_works.ask()

    def _probe_bucket(self, connection: Connection) -> None:
        """Ask, from time to time, whether the bucket takes a small object again."""
        if self._bucket_works.answered_yes():
            breaker.close(connection)
            log.info("the bucket takes cutouts again")
        elif breaker.due_for_probe(connection):
            self._bucket_works.ask()


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
