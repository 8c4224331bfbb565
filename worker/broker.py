"""Celery's Redis transport with one client a channel.

kombu 5.7 makes a new redis-py client for each message that it takes, acknowledges or sends. A client may be
kept, since it borrows a connection for each command; making three a job took 7% of a worker's CPU.
"""

from functools import cached_property
from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """Keeps its client for commands; the one that waits for messages is kept by kombu already."""

    @cached_property
    def _kept_client(self) -> Any:
        return super()._create_client()

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        return super()._create_client(asynchronous=True) if asynchronous else self._kept_client


class Transport(redis.Transport):
    """Redis, with the channel above."""

    Channel = Channel
