"""POSTs under an Idempotency-Key: sent again, they do nothing and are answered as the first time."""

import hashlib
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from operator import itemgetter
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.types import Message

from api.answer_headers import add_answer_header
from api.bodies.canonical_json import canonical_json
from api.bodies.strict_json import JsonRequest
from api.media_types import JSON
from api.problems import ProblemError
from cutout.producers.idempotency import KeptAnswer, find_answer, keep_answer, lock_key

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
FIRST_DATE = "Idempotent-First-Date"
USABLE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}")
AGAIN_AFTER_S = 1

Handler = Callable[[Request], Awaitable[Response]]


class _AnsweredBeforeError(Exception):
    def __init__(self, answer: KeptAnswer) -> None:
        super().__init__()
        self.answer = answer


class IdempotentRequest:
    """One request under a key: the hash of its meaning, and the transaction of its effect.

    Its meaning is the method, the path, the query's fields by name, the media type, and of the body the value
    if it is JSON, else the bytes.
    """

    def __init__(self, producer_id: uuid.UUID, key: str, request: Request) -> None:
        self._producer_id, self._key = producer_id, key
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._is_json = kind == JSON
        query = sorted(request.query_params.multi_items(), key=itemgetter(0))
        target = json.dumps([request.method, request.url.path, query, kind])
        self._hash = hashlib.sha256(target.encode())
        self._session: Session | None = None

    def read(self, body: bytes) -> None:
        """Take in a piece of the body."""
        if not self._is_json:
            self._hash.update(body)

    def read_value(self, value: Any) -> None:
        """Take in the value of a JSON body. Blanks, the order of members and 5.0 for 5 mean nothing."""
        for piece in canonical_json(value):
            self._hash.update(piece)

    def begin(self, session: Session, meaning: bytes | None) -> None:
        """Look, in the transaction that is to have the effect, whether it was had before.

        `meaning` stands for the body where the same request may come in other bytes.
        """
        if meaning is not None:
            self._hash = hashlib.sha256(meaning)
        if not lock_key(session, self._producer_id, self._key):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "idempotency-key-in-use",
                f"a request with the {HEADER} {self._key!r} is being carried out; send it again in a second",
                headers={"Retry-After": str(AGAIN_AFTER_S)},
            )
        before = find_answer(session, self._producer_id, self._key)
        if before is None:
            self._session = session
        elif before.request_sha256 == self._hash.digest():
            raise _AnsweredBeforeError(before)
        else:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                f"the {HEADER} {self._key!r} came with another request before; make a new key for a new one",
                field=HEADER,
            )

    @property
    def is_open(self) -> bool:
        """Whether the transaction was begun and the answer is not yet kept in it."""
        return self._session is not None

    def keep(self, answer: Response) -> None:
        """Keep a good answer in the transaction, if it is still open and nothing was kept yet."""
        session, self._session = self._session, None
        if (
            session is not None
            and session.in_transaction()
            and answer.status_code < HTTPStatus.MULTIPLE_CHOICES
        ):
            kept = KeptAnswer(
                self._hash.digest(),
                answer.status_code,
                answer.headers.get("content-type"),
                answer.headers.get("location"),
                bytes(answer.body),
            )
            keep_answer(session, self._producer_id, self._key, kept)


@contextmanager
def begin_effect(request: Request, engine: Engine, *, meaning: bytes | None = None) -> Iterator[Session]:
    """A transaction for what a request does; for a request that was answered before it is never entered.

    A route that makes its answer inside calls `keep` with it; for one that has the session by dependency, it
    is kept on the way out.
    """
    once: IdempotentRequest | None = getattr(request.state, "once", None)
    with Session(engine) as session, session.begin():
        if once is not None:
            once.begin(session, meaning)
        yield session


def hold_alike(request: Request, session: Session, body: bytes) -> None:
    """Shut out the same request without a key until the transaction ends; a problem 409 if one is under way.

    A client that gave up waiting sends it again, and would have all of it done twice.
    """
    if getattr(request.state, "once", None) is not None:
        return
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()
    if not lock_key(session, request.state.key.producer_id, digest):
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "idempotency-key-in-use",
            "the same request is being carried out at this moment; wait for it, and send requests with an"
            f" {HEADER} to be given their answer again",
            headers={"Retry-After": str(AGAIN_AFTER_S)},
        )


def keep(request: Request, answer: Response) -> None:
    """Keep the answer in the transaction that `begin_effect` opened, if the request has a key."""
    once: IdempotentRequest | None = getattr(request.state, "once", None)
    if once is not None:
        once.keep(answer)


async def answer_once(request: Request, handle: Handler) -> Response:
    """The answer of `handle`, or the one that was given to the same request under the same key before.

    Only good answers are kept: a refused request had no effect, and may be fixed under its key.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        return await handle(JsonRequest(request.scope, request.receive))
    if len(keys) > 1:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-idempotency-key",
            f"the request has {len(keys)} headers {HEADER}; send one",
            field=HEADER,
        )
    (key,) = keys
    if not USABLE.fullmatch(key):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-idempotency-key",
            f"the {HEADER} must have 1 to 255 printable ASCII characters, such as a UUID",
            field=HEADER,
        )
    add_answer_header(request, HEADER, key)
    once = request.state.once = IdempotentRequest(request.state.key.producer_id, key, request)

    async def receive() -> Message:
        message = await request.receive()
        once.read(message.get("body", b""))
        return message

    try:
        answer = await handle(JsonRequest(request.scope, receive))
    except _AnsweredBeforeError as before:
        return _as_before(before.answer)
    if once.is_open:
        await run_in_threadpool(once.keep, answer)
    return answer


def _as_before(kept: KeptAnswer) -> Response:
    headers = {REPLAYED: "true"}
    if kept.kept_at is not None:
        headers[FIRST_DATE] = format_datetime(kept.kept_at.astimezone(UTC), usegmt=True)
    if kept.media_type:
        headers["Content-Type"] = kept.media_type
    if kept.location:
        headers["Location"] = kept.location
    return Response(kept.body, status_code=kept.status, headers=headers)
