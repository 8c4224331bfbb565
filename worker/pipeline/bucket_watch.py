"""Whether this worker reaches the bucket itself: it looks before it blames the bucket that all share."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from cutout.enums import Step
from cutout.models.database import Database, PostgresAwayError
from cutout.queue.blocks import isolated_workers, storage_breaker
from cutout.queue.blocks.storage_breaker import BUCKET_IS_UNREACHABLE
from cutout.storage import ObjectMissingError, ObjectTooLargeError, StorageError
from worker.metrics import CUT_OFF
from worker.pipeline.intake import Intake

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_LOOK_S = 1.0
LONGEST_LOOK_S = 5.0
TELL_WITHIN_S = 2.0
TRUSTED_FOR_S = 5.0


class BucketWatch:
    """Suspects the bucket when it does not do as asked, and asks it then. Safe between threads.

    While it suspects, and while the bucket does not answer, this worker begins no call. Cut off, it says so
    to everybody and takes no messages for calls, nor for copies if another worker can; it goes on by itself.
    """

    def __init__(self, works: Callable[[], bool], run: Callable[..., T], intake: Intake) -> None:
        """`run` runs work on a connection to Postgres, for `give_up_after_s` seconds at most."""
        self._works = works
        self._run_on_postgres = run
        self._intake = intake
        self._suspicion = threading.Event()
        self._reason = ""
        self._known_cut_off = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bucket watch", daemon=True)
        self._worker_id: uuid.UUID | None = None
        self._worked_at = -TRUSTED_FOR_S

    @property
    def may_buy(self) -> bool:
        """Whether there is no doubt that what is bought now can be stored by this worker."""
        return not self._suspicion.is_set()

    def start(self, worker_id: uuid.UUID, reason: str = "") -> None:
        """Begin to watch; with a reason, the bucket did not answer just now."""
        self._worker_id = worker_id
        if reason:
            self._known_cut_off = True
            self._suspect(reason)
        self._thread.start()

    def suspect(self, error: StorageError) -> None:
        """The bucket did not do as asked. Of one object that it does not take or have, that says nothing."""
        if not isinstance(error, ObjectMissingError | ObjectTooLargeError):
            self._suspect(str(error))

    def works(self) -> bool:
        """Whether the bucket takes a small object, by an answer of the last seconds."""
        if time.monotonic() - self._worked_at < TRUSTED_FOR_S:
            return True
        works = self._works()
        if works:
            self._worked_at = time.monotonic()
        return works

    def stop(self) -> None:
        """Watch no more. A statement under way ends, if the bucket that is asked does not take longer."""
        self._ended.set()
        self._suspicion.set()
        if self._thread.is_alive():
            self._thread.join(TELL_WITHIN_S)

    def _suspect(self, reason: str) -> None:
        if not self._suspicion.is_set():
            self._reason = reason
            self._suspicion.set()

    def _watch(self) -> None:
        while self._suspicion.wait() and not self._ended.is_set():
            try:
                if self._known_cut_off or not self._works():
                    self._known_cut_off = False
                    self._wait_cut_off()
            except Exception:
                if not self._ended.is_set():
                    log.exception("the watch over the bucket met an error that nobody expected")
                self._ended.wait(FIRST_LOOK_S)
            if not self._ended.is_set():
                self._suspicion.clear()

    def _wait_cut_off(self) -> None:
        """Return once the bucket works again, or this worker ends."""
        log.error("this worker does not reach the bucket, and makes no calls until it does: %s", self._reason)
        CUT_OFF.set(1)
        self._intake.leave([Step.CALL])
        told, look_s = False, FIRST_LOOK_S
        while True:
            told = told or self._tell(self._accuse)
            if self._tell(_is_better_off):
                self._intake.leave([Step.CALL, Step.COPY])
            else:
                self._intake.leave([Step.CALL])
            if self._ended.wait(look_s):
                return
            if self._works():
                break
            look_s = min(look_s * 2, LONGEST_LOOK_S)
        self._come_back()

    def _come_back(self) -> None:
        while not self._tell(self._withdraw) and not self._ended.wait(FIRST_LOOK_S):
            pass
        self._intake.leave([])
        CUT_OFF.set(0)
        log.info("this worker reaches the bucket again")

    def _tell(self, work: Callable[[Connection], bool]) -> bool:
        try:
            return bool(self._run_on_postgres(work, give_up_after_s=TELL_WITHIN_S))
        except (PostgresAwayError, SQLAlchemyError) as error:
            if not self._ended.is_set():
                log.warning("the watch over the bucket cannot ask Postgres: %s", type(error).__name__)
            return False

    def _accuse(self, database: Connection) -> bool:
        voices = isolated_workers.cut_off(database, self._its_id(), self._reason)
        if voices >= isolated_workers.REPORTS and storage_breaker.trip(database, self._reason):
            log.error("%d workers do not reach the bucket, so all calls stop: %s", voices, self._reason)
        return True

    def _withdraw(self, database: Connection) -> bool:
        isolated_workers.back(database, self._its_id())
        return True

    def _its_id(self) -> uuid.UUID:
        if self._worker_id is None:
            raise RuntimeError("the watch over the bucket was not started")
        return self._worker_id


def _is_better_off(database: Database) -> bool:
    """Whether another worker can copy. Where none can, results that die must be saved in the lifeboat."""
    away = database.scalar(select(BUCKET_IS_UNREACHABLE))
    return not away and isolated_workers.others_reach_bucket(database)
