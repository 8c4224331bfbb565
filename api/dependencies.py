"""Dependencies of routes: a database session, the bucket, the settings, and the producer that asks."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from api.authentication import authenticate, require, usual_scope
from api.idempotency import begin_effect
from api.services import Services
from cutout.enums import Scope
from cutout.status.eta import QueueRate


async def services(request: Request) -> Services:
    """The services of this process. A coroutine: it takes no thread."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]


async def turn(request: Request, services: ServicesDep) -> AsyncIterator[None]:
    """One of the producer's turns at a thread and a connection, for a route that is no coroutine."""
    known = await authenticate(request, services)
    async with services.threads.turn(known.producer_id):
        yield


# scope="function": over when the transaction is, which is begun after it.
Turn = Annotated[None, Depends(turn, scope="function")]


def transaction(services: ServicesDep, _turn: Turn) -> Iterator[Session]:
    """A session whose transaction commits when the route returns, before the answer is sent."""
    with Session(services.engine) as session, session.begin():
        yield session


async def pace(services: ServicesDep) -> QueueRate | None:
    """The rate of the queue, read within the last second; None if nothing is known of it."""
    return await services.pace.get(None)


Pace = Annotated[QueueRate | None, Depends(pace)]


async def producer(request: Request, services: ServicesDep) -> uuid.UUID:
    """The producer whose key the request bears, if the key may look (GET) or enqueue (any other method)."""
    known = await authenticate(request, services)
    require(known, usual_scope(request))
    return known.producer_id


async def administrator(request: Request, services: ServicesDep) -> uuid.UUID:
    """The producer whose key the request bears, if the key has the scope `admin`."""
    known = await authenticate(request, services)
    require(known, Scope.ADMIN)
    return known.producer_id


ProducerId = Annotated[uuid.UUID, Depends(producer)]
AdminId = Annotated[uuid.UUID, Depends(administrator)]


def effect(request: Request, services: ServicesDep, _turn: Turn) -> Iterator[Session]:
    """The transaction of a POST: its effect and the answer kept under its Idempotency-Key, or neither."""
    with begin_effect(request, services.engine) as session:
        yield session


# scope="function": committed before the answer goes out, so that 201 means durable.
Transaction = Annotated[Session, Depends(transaction, scope="function")]
IdempotentSession = Annotated[Session, Depends(effect, scope="function")]
