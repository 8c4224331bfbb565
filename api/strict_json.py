"""JSON as RFC 8259 has it: no NaN, no lone surrogates, no depth or length that breaks the reader."""

from http import HTTPStatus
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from api.problems import ProblemError


class JsonRequest(Request):
    """A request whose JSON is read strictly; what cannot be read is a problem 422."""

    async def json(self) -> Any:
        """The body's value."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            text = f"the body is not JSON that can be read: {error}"
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", text) from error
