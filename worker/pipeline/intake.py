"""The Celery queues that this worker process takes messages from, some of which it may leave for a while."""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

log = logging.getLogger(__name__)


class Intake:
    """A switch for Celery's consumer; until it is bound, and without Celery, nothing is done.

    A job whose message was on its way when its queue was left is dispatched again once its lease is over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._consumer: Any = None
        self._queues: frozenset[str] = frozenset()
        self._left: frozenset[str] = frozenset()

    def bind(self, consumer: Any) -> None:
        """Bind the consumer, with the queues that it was started with."""
        with self._lock:
            self._consumer = consumer
            self._queues = frozenset(map(str, consumer.app.amqp.queues.consume_from))
            left, self._left = self._left, frozenset()
        self.leave(left)

    def leave(self, queues: Collection[str]) -> None:
        """Take no messages from these queues, and resume all others that it was started with."""
        with self._lock:
            left = frozenset(map(str, queues))
            if self._consumer is not None:
                for queue in (left - self._left) & self._queues:
                    self._consumer.call_soon(_safely, self._consumer.cancel_task_queue, queue)
                for queue in (self._left - left) & self._queues:
                    self._consumer.call_soon(_safely, self._consumer.add_task_queue, queue)
            self._left = left


def _safely(change: Callable[[str], None], queue: str) -> None:
    """Run in the consumer's loop, which an error would end. Its next connection will use the right queues."""
    try:
        change(queue)
    except Exception:
        log.exception("the queue %s could not be left or taken", queue)
