"""Duty: carry out actions, the changes of whole batches, in portions beside the tick."""

import logging
import time
import uuid
from collections.abc import Callable, Collection

from sqlalchemy import Connection, Engine

from cutout.administration.delete_batch import WAITS_S, ObjectInUseError, delete_portion
from cutout.enums import ActionKind
from cutout.models.database import connect, is_away, kind_of
from cutout.queue.batch_actions.carry_out import Turn, carry_on, fail, has_turn, postpone, take_turn
from cutout.queue.batch_actions.portions import PORTIONS
from cutout.queue.snapshot import QueueSnapshot
from cutout.settings import Settings
from cutout.storage import Bucket, StorageError
from worker.background import BackgroundTask

log = logging.getLogger(__name__)

FIND_EVERY_S = 0.5
# A process that no longer leads, or is frozen, leaves the actions to the next leader.
LEADS_WITHIN_S = 5.0
STORAGE_AWAY_S = 10.0
NO_PRODUCER = uuid.UUID(int=0)

Carry = Callable[[Engine, Turn], None]
"""Carry out one portion of an action. Raises StorageError, ObjectInUseError."""


class ActionRunner:
    """Looks for actions of some kinds twice a second, in the tick; a thread with its own connection carries
    them out, one portion of each producer's in turn. The next leader continues at the last portion.
    """

    def __init__(self, settings: Settings, name: str, kinds: Collection[ActionKind], carry: Carry) -> None:
        self._kinds = kinds
        self._carry = carry
        self._engine = connect(
            settings.database_url.get_secret_value(), connections=1, name="cutout-actions", check_first=True
        )
        self._find_at = 0.0
        self._last_tick_at = 0.0
        self._last_owner = NO_PRODUCER
        self._running = BackgroundTask(f"the {name} of batches", self._run)

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Begin to carry out actions, if one can be now: a thread and its connection have their price."""
        now = self._last_tick_at = time.monotonic()
        if now < self._find_at or self._running.running:
            return
        self._find_at = now + FIND_EVERY_S
        if has_turn(connection, self._kinds):
            self._running.start()

    def _run(self) -> bool:
        try:
            while self._leads and self._take_turn():
                pass
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Postgres is unreachable (%s); actions are carried on later", kind_of(error))
        finally:
            # Seldom needed: no connection is kept open until the next time.
            self._engine.dispose()
        return True

    @property
    def _leads(self) -> bool:
        return time.monotonic() - self._last_tick_at < LEADS_WITHIN_S

    def _take_turn(self) -> bool:
        turn = take_turn(self._engine, self._kinds, self._last_owner)
        if turn is None:
            return False
        self._last_owner = turn.owner
        try:
            self._carry(self._engine, turn)
        except ObjectInUseError as error:
            postpone(self._engine, turn.action_id, WAITS_S, "OBJECT_IN_USE", str(error))
        except StorageError as error:
            log.warning("the %s of the batch %s waits: %s", turn.kind, turn.batch_id, error)
            postpone(self._engine, turn.action_id, STORAGE_AWAY_S, "STORAGE_AWAY", str(error))
        except Exception as error:
            if is_away(error):
                raise
            log.exception("unexpected error in the %s of the batch %s", turn.kind, turn.batch_id)
            fail(self._engine, turn)
        return True


def change_runner(settings: Settings) -> ActionRunner:
    """A runner of all actions but deletions: it waits for Postgres alone."""
    return ActionRunner(settings, "changes", list(PORTIONS), _carry_change)


def _carry_change(engine: Engine, turn: Turn) -> None:
    carry_on(engine, turn.action_id, PORTIONS[turn.kind])


def deletion_runner(settings: Settings) -> ActionRunner:
    """A runner of deletions, which may wait for the bucket and delay no other action."""
    bucket = Bucket(settings, connections=1)

    def carry(engine: Engine, turn: Turn) -> None:
        delete_portion(engine, bucket, turn.action_id)

    return ActionRunner(settings, "deletions", [ActionKind.DELETE], carry)
