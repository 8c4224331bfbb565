"""Authentication: the API key of a request, and the scopes that it has."""

import math
import time
from http import HTTPStatus

from fastapi import Request

from api.key_cache import SHAPE, TooManyMissesError
from api.problems import ProblemError
from api.services import Services
from cutout.enums import Scope, allows
from cutout.producers.api_keys import KnownKey, hash_of
from cutout.producers.ceilings import Ceilings

LOOKING = frozenset({"GET", "HEAD"})


async def authenticate(request: Request, services: Services) -> KnownKey:
    """The key that the request bears.

    A problem 401 without a valid one, 403 if its producer is suspended, 429 if it sends too many requests.
    Asked again about the same request, it answers from memory.
    """
    known: KnownKey | None = getattr(request.state, "key", None)
    if known is None:
        known = await _find(request, services, _bearer(request.headers.get("authorization", "")))
        if known is None:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "wrong-key",
                "this API key is unknown, revoked or expired; ask for one made by `cutout keys make`",
            )
        if known.suspended:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "producer-suspended",
                "the operator suspended this producer: its keys are refused, its jobs wait; ask the operator",
            )
        request.state.key = known
        services.last_use.note(known.id)
    return known


async def is_still_valid(request: Request, services: Services) -> bool:
    """Whether the key of an authenticated request would be taken now, as known within the last second."""
    known = await services.keys.get(hash_of(_bearer(request.headers["authorization"])), since=0.0)
    return known is not None and not known.suspended


def ceilings_of(request: Request) -> Ceilings:
    """The ceilings of an authenticated request's producer."""
    known: KnownKey = request.state.key
    return known.ceilings


async def _find(request: Request, services: Services, text: str) -> KnownKey | None:
    # A request that only reads may rely on a key read within the last second.
    since = 0.0 if request.method in LOOKING else time.monotonic()
    if not SHAPE.fullmatch(text):
        return None
    key_sha256 = hash_of(text)
    try:
        if not await services.keys.is_valid(key_sha256, request.client.host if request.client else ""):
            return None
    except TooManyMissesError as error:
        seconds = math.ceil(error.wait_s)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-wrong-keys",
            f"too many unknown API keys came from your address, or from all; wait {seconds} s",
            headers={"Retry-After": str(seconds)},
        ) from None
    _limit(services, key_sha256)
    return await services.keys.get(key_sha256, since=since)


def usual_scope(request: Request) -> Scope:
    """The scope that a request needs unless its route names another one."""
    return Scope.READ if request.method in LOOKING else Scope.ENQUEUE


def require(known: KnownKey, needed: Scope) -> None:
    """Raise a problem 403 unless the key has the scope."""
    if not allows(known.scopes, needed):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "scope-missing",
            f"this needs the scope `{needed}`, and this key has {', '.join(known.scopes)};"
            f" ask for a key made by `cutout keys make NAME --scope {needed} --producer {known.producer_id}`",
        )


def _bearer(header: str) -> str:
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "no-key", "send the header `Authorization: Bearer KEY` with your API key"
        )
    return key.strip()


def _limit(services: Services, key: bytes) -> None:
    limit = services.limit
    wait = limit.wait_for(key)
    if wait:
        seconds = math.ceil(wait)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate-limited",
            f"this key may send {limit.per_second:g} requests a second; wait {seconds} s",
            headers={
                "Retry-After": str(seconds),
                # As draft-ietf-httpapi-ratelimit-headers has them.
                "RateLimit-Policy": f'"key";q={limit.burst:.0f};w={limit.burst / limit.per_second:.0f}',
                "RateLimit": f'"key";r=0;t={seconds}',
            },
        )
