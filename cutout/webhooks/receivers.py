"""Receivers of webhooks: one for each pair of producer and host."""

import uuid
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ARRAY, Connection, Integer, Interval, Text, Uuid, bindparam, delete, text
from sqlalchemy.dialects.postgresql import insert

from cutout.models import RECEIVERS
from cutout.models.columns import OWNER
from cutout.webhooks.secrets import INSTALLATION

# Limits of one search: producers, receivers, and the least number of receivers of each producer.
MOST_OWNERS = 200
MOST_HOSTS = 500
LEAST_HOSTS = 10
MOST_FORGOTTEN = 500


class Receiver(NamedTuple):
    """The producer (the nil UUID for the installation's own messages) and the host, with its port if any."""

    owner: uuid.UUID
    host: str


class Waiting(NamedTuple):
    """A receiver with a due delivery, and whether it answered the last time."""

    receiver: Receiver
    proven: bool


# A skip scan from producer to producer and from host to host: the cost depends on the number of hosts, not of
# deliveries.
FIND_WAITING = text(
    f"""
    WITH RECURSIVE owners (owner, n) AS (
        (
            SELECT {OWNER}, 1 FROM deliveries WHERE state = 'waiting' AND {OWNER} >= :first
            ORDER BY {OWNER} LIMIT 1
        )
        UNION ALL
        SELECT following.owner, n + 1 FROM owners CROSS JOIN LATERAL (
            SELECT {OWNER} AS owner FROM deliveries WHERE state = 'waiting' AND {OWNER} > owners.owner
            ORDER BY {OWNER} LIMIT 1
        ) following
        WHERE n < :most_owners
    ),
    shares AS (
        SELECT owner, coalesce(known.after, '') AS after,
            greatest(:most / count(*) OVER (), :least)::integer AS share
        FROM owners LEFT JOIN unnest(:owners, :afters) AS known (name, after) ON known.name = owners.owner
    )
    SELECT shares.owner, shares.share, found.host, found.due_at <= now() AS due,
        receivers.host IS NOT NULL AS proven
    FROM shares LEFT JOIN LATERAL (
        WITH RECURSIVE found (host, due_at, steps) AS (
            (
                SELECT host, due_at, 1 FROM deliveries
                WHERE state = 'waiting' AND {OWNER} = shares.owner AND host > shares.after
                ORDER BY host, due_at LIMIT 1
            )
            UNION ALL
            SELECT following.host, following.due_at, found.steps + 1 FROM found CROSS JOIN LATERAL (
                SELECT host, due_at FROM deliveries
                WHERE state = 'waiting' AND {OWNER} = shares.owner AND host > found.host
                ORDER BY host, due_at LIMIT 1
            ) following
            WHERE found.steps < shares.share
        )
        SELECT * FROM found
    ) found ON true
    LEFT JOIN receivers ON receivers.owner = shares.owner AND receivers.host = found.host
    ORDER BY shares.owner, found.host
    """  # noqa: S608 - constants
).bindparams(
    bindparam("first", type_=Uuid),
    bindparam("owners", type_=ARRAY(Uuid)),
    bindparam("afters", type_=ARRAY(Text)),
    bindparam("most", type_=Integer),
    bindparam("least", type_=Integer),
)

FORGET = text(
    """
    DELETE FROM receivers WHERE (owner, host) IN (
        SELECT owner, host FROM receivers WHERE proven_at < now() - :kept ORDER BY proven_at LIMIT :most
    )
    """
).bindparams(bindparam("kept", type_=Interval), bindparam("most", MOST_FORGOTTEN, type_=Integer))


class Search:
    """A dispatcher's position in its round through all receivers that have deliveries waiting."""

    def __init__(self) -> None:
        self._first = INSTALLATION
        self._after: dict[uuid.UUID, str] = {}

    def next(self, connection: Connection) -> list[Waiting]:
        """The next receivers with a due delivery, some of each producer."""
        position = {"first": self._first, "owners": list(self._after), "afters": list(self._after.values())}
        limits = {"most": MOST_HOSTS, "least": LEAST_HOSTS, "most_owners": MOST_OWNERS}
        seen: dict[uuid.UUID, list[str]] = {}
        waiting, full = [], {}
        for row in connection.execute(FIND_WAITING, position | limits):
            hosts = seen.setdefault(row.owner, [])
            if row.host is None:
                continue
            hosts.append(row.host)
            if row.due:
                waiting.append(Waiting(Receiver(row.owner, row.host), row.proven))
            if len(hosts) == row.share:
                full[row.owner] = row.host
        self._advance(seen, full)
        return waiting

    def _advance(self, seen: Collection[uuid.UUID], full: Mapping[uuid.UUID, str]) -> None:
        """Continue after the last receiver seen of each producer, or at its first if all were seen."""
        others = {owner: after for owner, after in self._after.items() if owner not in seen}
        is_all = self._first == INSTALLATION and len(seen) < MOST_OWNERS
        self._after = {**({} if is_all else others), **full}
        self._first = max(seen) if len(seen) == MOST_OWNERS else INSTALLATION


def prove(connection: Connection, receiver: Receiver) -> None:
    """Record that the receiver answered."""
    connection.execute(insert(RECEIVERS).values(**receiver._asdict()).on_conflict_do_nothing())


def disprove(connection: Connection, receiver: Receiver) -> None:
    """Record that the receiver did not answer, or answered that it is overloaded."""
    proof = delete(RECEIVERS).where(RECEIVERS.c.owner == receiver.owner, RECEIVERS.c.host == receiver.host)
    connection.execute(proof)


def forget_receivers(connection: Connection, kept: timedelta) -> int:
    """Delete proofs older than `kept`, MOST_FORGOTTEN at most; returns their number."""
    return connection.execute(FORGET, {"kept": kept}).rowcount
