"""Celery's Redis transport, with one client for each channel and without records of unfinished messages.

kombu 5.7 makes a new redis-py client for each message that it takes or sends. A client can be kept, since it
borrows a connection for each command; making three for each job took 7% of a worker's CPU.

kombu would also record each message in Redis until its task ends, to repeat it if the worker dies. Postgres
knows which jobs are unfinished, and they are dispatched again; the records took 9% of a worker's CPU.
"""

from functools import cached_property
from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that keeps its client for commands; kombu keeps the client that waits for messages.

    A worker counts the messages that it has taken in its memory, so it takes no more than its prefetch count.
    """

    ack_emulation = False
    do_restore = False

    @cached_property
    def _kept_client(self) -> Any:
        return super()._create_client()

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        return super()._create_client(asynchronous=True) if asynchronous else self._kept_client


class Transport(redis.Transport):
    """The Redis transport with this channel."""

    Channel = Channel
