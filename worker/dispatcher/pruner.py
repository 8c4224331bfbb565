"""Duty: delete what is too old: answers to idempotency keys, quotes, sessions, records of actions."""

import time
from collections.abc import Callable

from sqlalchemy import Connection

from cutout.actions.quotes import MOST_PRUNED as MOST_QUOTES
from cutout.actions.quotes import prune_quotes
from cutout.producers.idempotency import MOST_PRUNED as MOST_ANSWERS
from cutout.producers.idempotency import prune_answers
from cutout.producers.sessions import MOST_PRUNED as MOST_SESSIONS
from cutout.producers.sessions import prune_sessions
from cutout.queue.snapshot import QueueSnapshot
from cutout.settings import Settings
from cutout.status.action_log import MOST_PRUNED as MOST_ACTIONS
from cutout.status.action_log import prune_actions

PRUNE_EVERY_S = 60.0

Prune = Callable[[Connection], int]


class Pruner:
    """Prunes once a minute, and in every tick while there is more than one portion."""

    def __init__(self, settings: Settings) -> None:
        keep_days = settings.actions_keep_days

        def prune_old_actions(connection: Connection) -> int:
            return prune_actions(connection, keep_days)

        self._subjects = [
            _Subject(prune_answers, MOST_ANSWERS),
            _Subject(prune_quotes, MOST_QUOTES),
            _Subject(prune_sessions, MOST_SESSIONS),
            _Subject(prune_old_actions, MOST_ACTIONS),
        ]

    def tick(self, connection: Connection, _snapshot: QueueSnapshot) -> None:
        """Delete a portion of each that is due."""
        for subject in self._subjects:
            subject.prune_if_due(connection)


class _Subject:
    def __init__(self, prune: Prune, portion: int) -> None:
        self._prune, self._portion = prune, portion
        self._prune_at = 0.0

    def prune_if_due(self, connection: Connection) -> None:
        now = time.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY_S
            if self._prune(connection) == self._portion:
                self._prune_at = now
