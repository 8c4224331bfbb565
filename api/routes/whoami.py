"""The bearer of a key: who it is, what it may do, and how much of it is left."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from api.authentication import authenticate, wrong_key
from api.dependencies import ServicesDep
from api.router import v1_router
from api.schemas.identity_views import IdentityView, view_identity
from api.services import Services
from cutout.producers.api_keys import KnownKey
from cutout.producers.identity import Identity, find_identity

router = v1_router("/v1/whoami", "whoami")


async def _bearer(request: Request, services: ServicesDep) -> KnownKey:
    """The key of the request, whatever its scopes."""
    return await authenticate(request, services)


@router.get("")
async def get(services: ServicesDep, known: Annotated[KnownKey, Depends(_bearer)]) -> IdentityView:
    """Your producer and key, your limits, and how much of your quota is used. Any key may ask."""
    found = await services.threads.run(known.producer_id, _find, services, known)
    return view_identity(found, services.limit)


def _find(services: Services, known: KnownKey) -> Identity:
    with Session(services.engine) as session, session.begin():
        found = find_identity(session, known.id)
    if found is None:
        raise wrong_key()
    return found
