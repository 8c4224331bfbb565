"""Celery's Redis transport, with one client a channel and nothing written down about messages on their way.

kombu 5.7 makes a new redis-py client for each message that it takes or sends. A client may be kept, since it
borrows a connection for each command; making three a job took 7% of a worker's CPU.

kombu would also note each message in Redis until its task ends, to repeat it if the worker dies. Postgres
knows better what was not carried out, and hands it out again; the notes took 9% of a worker's CPU.
"""

from functools import cached_property
from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Keeps its client for commands; the one that waits for messages is kept by kombu already.

    What a worker has taken is counted in its memory, so it takes no more than its prefetch count.
    """

    ack_emulation = False
    do_restore = False

    @cached_property
    def _kept_client(self) -> Any:
        return super()._create_client()

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        return super()._create_client(asynchronous=True) if asynchronous else self._kept_client


class Transport(redis.Transport):
    """Redis, with the channel above."""

    Channel = Channel
