"""What a route needs at hand: a database session, the bucket, the settings, and who is asking."""

import uuid
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from api.authentication import authenticate, require, usual_scope
from api.idempotency import begin_effect
from api.services import Services
from jobs.scopes import Scope


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


AtHand = Annotated[Services, Depends(services)]


def transaction(at_hand: AtHand) -> Iterator[Session]:
    """A session whose transaction commits when the route returns, before the answer is sent."""
    with Session(at_hand.engine) as session, session.begin():
        yield session


async def producer(request: Request, at_hand: AtHand) -> uuid.UUID:
    """The producer whose key the request bears, if the key may look (GET) or enqueue (any other method)."""
    known = await authenticate(request, at_hand)
    require(known, usual_scope(request))
    return known.producer_id


async def administrator(request: Request, at_hand: AtHand) -> uuid.UUID:
    """The producer whose key the request bears, if the key has the scope `admin`."""
    known = await authenticate(request, at_hand)
    require(known, Scope.ADMIN)
    return known.producer_id


ProducerId = Annotated[uuid.UUID, Depends(producer)]
AdminId = Annotated[uuid.UUID, Depends(administrator)]


def effect(request: Request, at_hand: AtHand) -> Iterator[Session]:
    """The transaction of a POST: what it does and what is answered under its Idempotency-Key, or neither."""
    with begin_effect(request, at_hand.engine) as session:
        yield session


# scope="function": committed before the answer goes out, so that 201 means durable.
Transaction = Annotated[Session, Depends(transaction, scope="function")]
Effect = Annotated[Session, Depends(effect, scope="function")]
