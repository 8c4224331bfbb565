"""Signals through Redis: whoever waits for a job need not wait for its next look at Postgres.

A signal says that something changed, nothing else, and may be lost: whoever listens looks by itself as well.
So no signal is worth a wait: none is sent for some seconds after Redis did not take one in time.
"""

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum

import redis

from cutout.settings import Settings

log = logging.getLogger(__name__)

SENT_WITHIN_S = 0.1
REST_AFTER_FAILURE_S = 5.0
CONNECTED_WITHIN_S = 2.0
# A listener notices so that its connection is dead, or that it is to stop.
LISTENED_S = 5.0
TRY_AGAIN_S = 1.0


class Signal(StrEnum):
    """A job that somebody waits for was enqueued, or has ended."""

    QUEUED = "job-queued"
    ENDED = "job-ended"


class SignalSender:
    """Sends signals. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._client = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=SENT_WITHIN_S,
            socket_connect_timeout=SENT_WITHIN_S,
        )
        self._prefix = settings.redis_prefix
        self._rests_until = 0.0

    def send(self, signal: Signal) -> None:
        """Send it, or leave it: an error is only logged."""
        if time.monotonic() < self._rests_until:
            return
        try:
            self._client.publish(f"{self._prefix}{signal}", b"")
        except (redis.RedisError, OSError) as error:
            self._rests_until = time.monotonic() + REST_AFTER_FAILURE_S
            log.info("the signal %s was not sent: %s", signal, type(error).__name__)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class SignalListener:
    """Calls a function in a thread of its own at each signal, and once it listens."""

    def __init__(self, settings: Settings, signal: Signal, on_signal: Callable[[], None]) -> None:
        self._client = redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_connect_timeout=CONNECTED_WITHIN_S
        )
        self._channel = f"{settings.redis_prefix}{signal}"
        self._on_signal = on_signal
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"signal {signal}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; does not wait for the thread."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError, ValueError) as error:
                log.debug("no signals come: %s", error)
            self._stopping.wait(TRY_AGAIN_S)
        self._client.close()

    def _listen(self) -> None:
        with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(self._channel)
            while not self._stopping.is_set():
                message = subscription.get_message(timeout=LISTENED_S)
                if message is not None:
                    # The first is the subscription's own: signals may have been lost before it.
                    self._on_signal()
                else:
                    subscription.ping()
