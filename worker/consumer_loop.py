"""The loop of Celery's consumer, watched: it takes messages, and each connection to Redis begins it anew."""

from typing import Any

from celery import bootsteps

from cutout.telemetry.loops import WatchedLoop

NAME = "consumer"
TURN_EVERY_S = 1.0
# Longer than the longest pause between two tries to connect.
TURN_WITHIN_S = 60.0
CONSUMER = WatchedLoop(NAME, TURN_WITHIN_S)


class ConsumerTurns(bootsteps.StartStopStep):  # type: ignore[misc]
    """Part of the consumer: a timer in its loop. Timers end with the connection."""

    requires = ("celery.worker.consumer:Tasks",)

    def start(self, parent: Any) -> None:
        """Begin the timer, at each connection."""
        CONSUMER.turn()
        parent.timer.call_repeatedly(TURN_EVERY_S, CONSUMER.turn)
