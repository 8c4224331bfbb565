"""Writes down when keys were last used, beside the requests and at most once in half a minute."""

import logging
import threading
import uuid

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cutout.producers.api_keys import note_use

log = logging.getLogger(__name__)

WRITE_EVERY_S = 30.0


class KeyUsageRecorder:
    """Collects the keys that were used; a thread writes them down until `stop`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._used: set[uuid.UUID] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="last-use", daemon=True)
        self._thread.start()

    def note(self, key_id: uuid.UUID) -> None:
        """Remember that the key was used."""
        self._used.add(key_id)

    def stop(self) -> None:
        """Save the uses not saved yet, and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(WRITE_EVERY_S):
            self._write()
        self._write()

    def _write(self) -> None:
        # Whoever notes a key between the two lines notes it in the set that is written.
        used, self._used = self._used, set()
        if not used:
            return
        try:
            with Session(self._engine) as session, session.begin():
                note_use(session, list(used))
        except SQLAlchemyError as error:
            log.warning("when keys were last used is not written down: %s", type(error).__name__)
