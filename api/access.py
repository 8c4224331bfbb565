"""What a route needs at hand: a database session, the bucket, the settings, and who is asking."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Header, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.counting import Counting
from api.events import Events
from api.fresh import Fresh
from api.looks import CONNECTIONS as LOOKS
from api.looks import Looks
from api.problems import ProblemError
from api.watch import Watch
from jobs.database import connect
from jobs.explain import Installation
from jobs.pace import Pace, look_at_pace
from jobs.producers import find_producer
from jobs.settings import Settings
from jobs.storage import Bucket

# With those for looks no more than a process had before there were any.
CONNECTIONS = 40 - LOOKS
# Moving a million jobs takes about a minute; other requests are not to wait for a thread behind it.
MOVES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Services:
    """The process's connections, made once when it starts."""

    settings: Settings
    engine: Engine
    bucket: Bucket
    looks: Looks
    # A key that was revoked is refused a second later.
    keys: Fresh[str, uuid.UUID]
    pace: Fresh[None, Pace]
    counting: Counting
    watch: Watch
    events: Events
    moves: CapacityLimiter

    def close(self) -> None:
        self.engine.dispose()
        self.looks.close()
        self.bucket.close()


def open_services(known: Settings) -> Services:
    """To be called on the event loop."""
    looks = Looks(known)
    installation = Installation.of(known)

    async def find_key(key: str) -> uuid.UUID | None:
        return await looks.quick(lambda connection: find_producer(connection, key))

    async def find_pace(_: None) -> Pace:
        return await looks.quick(
            lambda connection: look_at_pace(connection, installation.accounts, installation.calls_per_second)
        )

    pace = Fresh(find_pace)
    counting = Counting(looks, pace)
    return Services(
        settings=known,
        engine=connect(known.database_url.get_secret_value(), connections=CONNECTIONS, name="cutout-api"),
        bucket=Bucket(known, connections=CONNECTIONS),
        looks=looks,
        keys=Fresh(find_key),
        pace=pace,
        counting=counting,
        watch=Watch(looks),
        events=Events(looks, counting),
        moves=CapacityLimiter(MOVES_AT_ONCE),
    )


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def transaction(at_hand: Annotated[Services, Depends(services)]) -> Iterator[Session]:
    """A session whose transaction commits when the route returns, before the answer is sent."""
    with Session(at_hand.engine) as session, session.begin():
        yield session


async def producer(
    at_hand: Annotated[Services, Depends(services)],
    authorization: Annotated[str | None, Header(description="Bearer and a producer's API key")] = None,
) -> uuid.UUID:
    """The producer whose key the request bears; a problem 401 without one."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "no-key", "send the header `Authorization: Bearer KEY` with your API key"
        )
    found = await at_hand.keys.get(key.strip())
    if found is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "wrong-key",
            "this API key is unknown or revoked; ask for one made by `cutout keys`",
        )
    return found


AtHand = Annotated[Services, Depends(services)]
# scope="function": committed before the answer goes out, so that 201 means durable.
Transaction = Annotated[Session, Depends(transaction, scope="function")]
ProducerId = Annotated[uuid.UUID, Depends(producer)]
