"""What a route needs at hand: a database session, the bucket, the settings, and who is asking."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.problems import ProblemError
from jobs.producers import find_producer
from jobs.settings import Settings
from jobs.storage import Bucket


@dataclass(frozen=True, slots=True)
class Services:
    """The process's connections, made once when it starts."""

    settings: Settings
    engine: Engine
    bucket: Bucket


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def transaction(at_hand: Annotated[Services, Depends(services)]) -> Iterator[Session]:
    """A session whose transaction commits when the route returns, before the answer is sent."""
    with Session(at_hand.engine) as session, session.begin():
        yield session


def producer(
    at_hand: Annotated[Services, Depends(services)],
    authorization: Annotated[str | None, Header(description="Bearer and a producer's API key")] = None,
) -> uuid.UUID:
    """The producer whose key the request bears; a problem 401 without one."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "no-key", "send the header `Authorization: Bearer KEY` with your API key"
        )
    with Session(at_hand.engine) as session:
        found = find_producer(session, key.strip())
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
