"""Authentication: the API key of a request, and the scopes that it has."""

import math
import time
from datetime import UTC
from http import HTTPStatus

from fastapi import Request

from api.answer_headers import add_answer_header
from api.client_address import client_address
from api.key_cache import SHAPE, TooManyMissesError
from api.limits.rate_limit import RequestLimit
from api.problems import ProblemError
from api.services import Services
from cutout.actions import Actor, Asked
from cutout.enums import Role, Scope, allows
from cutout.producers.api_keys import KnownKey, OperatorKey, hash_of
from cutout.producers.ceilings import Ceilings
from cutout.producers.key_expiry import expires_soon
from cutout.telemetry import logs

KEY_EXPIRES = "Cutout-Key-Expires"
LOOKING = frozenset({"GET", "HEAD"})


async def authenticate(request: Request, services: Services) -> KnownKey:
    """The producer's key that the request bears.

    A problem 401 without a valid one, 403 for an operator's or if its producer is suspended, 429 if it sends
    too many requests. Asked again about the same request, it answers from memory.
    """
    known: KnownKey | None = getattr(request.state, "key", None)
    if known is None:
        found = await _find(request, services, _bearer(request.headers.get("authorization", "")))
        if found is None:
            raise wrong_key()
        if isinstance(found, OperatorKey):
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "operator-key",
                "this key is an operator's and good for the console alone; /v1 is for the keys of producers:"
                " ask for one of those",
            )
        known = found
        if known.suspended:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "producer-suspended",
                "the operator suspended this producer: its keys are refused, its jobs wait; ask the operator",
            )
        request.state.key = known
        logs.note(producer_id=str(known.producer_id), key_id=str(known.id))
        services.last_use.note(known.id)
        _give_notice(request, known)
    return known


def _give_notice(request: Request, known: KnownKey) -> None:
    """Let each answer to a key in its last days have the time when it ends."""
    if known.expires_at is not None and expires_soon(known.expires_at):
        ends = known.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        add_answer_header(request, KEY_EXPIRES, ends)


def wrong_key() -> ProblemError:
    """The problem of a key that is not valid."""
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "wrong-key",
        "this API key is unknown, revoked or expired; ask the operator for a new one",
    )


async def is_still_valid(request: Request, services: Services) -> bool:
    """Whether the key of an authenticated request would be taken now, as known within the last second."""
    known = await services.keys.get(hash_of(_bearer(request.headers["authorization"])), since=0.0)
    return isinstance(known, KnownKey) and not known.suspended


def asked_by(request: Request) -> Asked:
    """The actor of an authenticated request, for the row of its action."""
    known: KnownKey = request.state.key
    return Asked(Actor(Role.PRODUCER, known.name, known.id, known.producer_id, known.scopes))


def ceilings_of(request: Request) -> Ceilings:
    """The ceilings of an authenticated request's producer."""
    known: KnownKey = request.state.key
    return known.ceilings


async def _find(request: Request, services: Services, text: str) -> KnownKey | OperatorKey | None:
    # A request that only reads may rely on a key read within the last second.
    since = 0.0 if request.method in LOOKING else time.monotonic()
    if not SHAPE.fullmatch(text):
        return None
    key_sha256 = hash_of(text)
    try:
        if not await services.keys.is_valid(key_sha256, client_address(request.scope)):
            return None
    except TooManyMissesError as error:
        seconds = math.ceil(error.wait_s)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-wrong-keys",
            f"too many unknown API keys came from your address, or from all; wait {seconds} s",
            headers={"Retry-After": str(seconds)},
        ) from None
    _limit(request, services.limit, key_sha256)
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
            " use one that has it, or ask the operator for one",
        )


def _bearer(header: str) -> str:
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "no-key", "send the header `Authorization: Bearer KEY` with your API key"
        )
    return key.strip()


def _limit(request: Request, limit: RequestLimit, key: bytes) -> None:
    wait = limit.wait_for(key)
    left = limit.left(key)
    full_in = math.ceil((limit.burst - left) / limit.per_second)
    # As draft-ietf-httpapi-ratelimit-headers has them.
    window = math.ceil(limit.burst / limit.per_second)
    add_answer_header(request, "RateLimit-Policy", f'"key";q={limit.burst:.0f};w={window}')
    add_answer_header(request, "RateLimit", f'"key";r={math.floor(left)};t={full_in}')
    if wait:
        seconds = math.ceil(wait)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate-limited",
            f"this key may send {limit.per_second:g} requests a second; wait {seconds} s",
            headers={"Retry-After": str(seconds)},
        )
