"""JSON as RFC 8259 has it, no more of it than any schema needs, and validated off the event loop.

Every JSON body comes this way: no NaN, no lone surrogates, no depth, width or length that breaks the reader.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import thread_time
from typing import Any, Protocol, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from api.bodies.json_bounds import JsonBounds
from api.bodies.reading_time import ReadingTime
from api.limits.sizes import USUAL_BYTES
from api.problems import ProblemError, invalid_request
from api.services import Services

# Reading so much takes less than handing it to a thread and back would be worth.
INLINE_BYTES = 8 * 1024
# Counting what a kilobyte is made of takes up to 1 ms; then others have their turn.
LEAST_SLICE, LARGEST_SLICE = 1024, 16 * 1024
SLICE_S = 0.0005
# The routes that take a list of jobs.
WITH_JOBS = frozenset({"/v1/batches"})

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")


class ReadsValue(Protocol):
    """Takes in the value of a body: a request under an Idempotency-Key."""

    def read_value(self, value: Any) -> None: ...


class JsonRequest(Request):
    """A request whose JSON is bounded as it comes and read strictly; what cannot be read is a problem 422.

    A body of more than USUAL_BYTES has one of `large_bodies`' places until its request is answered.
    """

    _slice = LEAST_SLICE

    async def body(self) -> bytes:
        """The whole body; raises a problem 422 for too much of anything, 429 or 503 for want of a place."""
        if not hasattr(self, "_body"):
            bounds = JsonBounds(self._most_jobs())
            pieces = []
            size = 0
            async for piece in self.stream():
                size += len(piece)
                if size > USUAL_BYTES >= size - len(piece):
                    self._take_place()
                await self._count(bounds, piece)
                pieces.append(piece)
            self._body = b"".join(pieces)
        return self._body

    async def json(self) -> Any:
        """The body's value; raises a problem 422 if it is no JSON, 429 if it gets no turn of its producer."""
        return await _measured(self, _read, await self.body(), _under_a_key(self))

    async def _count(self, bounds: JsonBounds, piece: bytes) -> None:
        """Feed the bounds slice by slice; each is as large as takes some SLICE_S."""
        reading: ReadingTime = self.app.state.services.reading_time
        producer_id = self.state.key.producer_id
        start = 0
        while start < len(piece):
            part = piece[start : start + self._slice]
            began = thread_time()
            try:
                bounds.feed(part)
            finally:
                took = thread_time() - began
                reading.spend(producer_id, took)
            start += len(part)
            if took > SLICE_S:
                self._slice = max(self._slice // 2, LEAST_SLICE)
            elif took < SLICE_S / 2:
                self._slice = min(self._slice * 2, LARGEST_SLICE)
            await reading.turn(producer_id)

    def _most_jobs(self) -> int:
        most: int = self.app.state.services.settings.max_batch_jobs
        return most if self.scope["path"] in WITH_JOBS else 0

    def _take_place(self) -> None:
        place = self.app.state.services.large_bodies.held(self.state.key.producer_id)
        self.state.places.enter_context(place)


async def read_model(request: Request, model: type[Model]) -> Model:
    """The JSON body as the model; raises a problem 422 for the first of its faults.

    A problem 429 if it gets no turn of its producer.
    """
    body = await request.body()

    def made(body: bytes, once: ReadsValue | None) -> Model:
        return _validated(model, body, once)

    return await _measured(request, made, body, _under_a_key(request))


async def _measured(
    request: Request, work: Callable[[bytes, ReadsValue | None], T], body: bytes, once: ReadsValue | None
) -> T:
    """Run `work` with the body, off the event loop if it is large; its time is the producer's."""
    services: Services = request.app.state.services
    reading, producer_id = services.reading_time, request.state.key.producer_id
    if len(body) <= INLINE_BYTES:
        return reading.measured(producer_id, work, body, once)
    return await reading.measured_in(services.validations, producer_id, work, body, once)


def validated(model: type[Model], fields: Mapping[str, Any]) -> Model:
    """Fields of a form or a query as the model; raises a problem 422 for the first of their faults."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _first_fault(error) from None


def _read(body: bytes, once: ReadsValue | None) -> Any:
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        text = f"the body is not JSON that can be read: {error}"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", text) from error
    if once is not None:
        once.read_value(value)
    return value


def _validated(model: type[Model], body: bytes, once: ReadsValue | None) -> Model:
    try:
        made = model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _first_fault(error) from None
    if once is not None:
        once.read_value(from_json(body))
    return made


def _under_a_key(request: Request) -> ReadsValue | None:
    once: ReadsValue | None = getattr(request.state, "once", None)
    return once


def _first_fault(error: ValidationError) -> ProblemError:
    # The faulty value is not repeated, only its place and the reason: it may be large, or secret.
    return invalid_request(error.errors(include_url=False, include_context=False, include_input=False))
