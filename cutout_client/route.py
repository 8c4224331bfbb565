"""Routes of the API: everything that a call of one needs, written once."""

import re
import uuid
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cutout_client.errors import BrokenAnswerError, error_of
from cutout_client.http_request import Body, JsonBody, Request, query_of
from cutout_client.steps import Answer, Flow, Send

T = TypeVar("T")

OK = range(200, 300)
REDIRECT = frozenset({302, 303, 307})
MISSING, FIRST_REFUSAL = 404, 400
NAME = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Route(Generic[T]):
    """A method at a path. Its `{…_id}` are UUIDs, its other parts are names.

    `decode` reads an answer with an expected status. `gone_is_done`: what was deleted by a try whose answer
    was lost is not missing.
    """

    method: str
    path: str
    decode: Callable[[Answer], T]
    expect: Container[int] = OK
    gone_is_done: bool = False

    def ask(
        self,
        *parts: str,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        body: Body | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        wait_s: float = 0.0,
    ) -> Flow[T]:
        """Send one request and decode its answer. Raises ApiError, BrokenAnswerError and NoAnswerError."""
        request = self.request(
            *parts,
            query=query,
            body=body if json is None else JsonBody(json),
            if_match=if_match,
            idempotency_key=idempotency_key,
            wait_s=wait_s,
        )
        answer: Answer = yield Send(request)
        return self.read(answer)

    def request(
        self,
        *parts: str,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
        wait_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        """Make the request. A POST has an idempotency key, the same for each time that it is sent."""
        sent = dict(headers or {})
        if self.method == "POST":
            sent["Idempotency-Key"] = idempotency_key or str(uuid.uuid4())
        if if_match is not None:
            sent["If-Match"] = if_match
        return Request(
            self.method,
            self._filled(parts),
            query_of(query or {}),
            sent,
            body,
            wait_s,
            # Done by a try whose answer was lost, a change has made `if_match` stale.
            repeatable=self.method == "POST" or if_match is None,
        )

    def read(self, answer: Answer) -> T:
        """Decode the answer. Raises ApiError and BrokenAnswerError."""
        if answer.status in self.expect or (
            self.gone_is_done and answer.status == MISSING and answer.after_lost
        ):
            return self.decode(answer)
        if answer.status >= FIRST_REFUSAL:
            raise error_of(answer)
        raise BrokenAnswerError(f"{self.method} {self.path} was answered {answer.status} {answer.reason}")

    def _filled(self, parts: tuple[str, ...]) -> str:
        path = self.path
        for part in parts:
            name = path[path.index("{") + 1 : path.index("}")]
            text = str(uuid.UUID(part)) if name.endswith("_id") else _name(part)
            path = path.replace(f"{{{name}}}", text, 1)
        return path


def _name(part: str) -> str:
    """Check a name before it goes into an address. Raises ValueError for `../keys` and the like."""
    if not NAME.fullmatch(part):
        raise ValueError(f"{part!r} is no name: it has letters, digits and hyphens alone")
    return part
