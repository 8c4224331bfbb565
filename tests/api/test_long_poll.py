"""Waiting: what a client sends meanwhile."""

from http import HTTPStatus
from typing import NoReturn

from fastapi import Request

from api.live.long_poll import _gone
from api.problems import ProblemError
from tests.support import event_loop


def test_a_body_that_is_not_taken_ends_a_wait_without_an_error() -> None:
    """Its error would be found by nobody, and stand in the log once for each request."""

    async def receive() -> NoReturn:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "too-slow", "the body came slower than that")

    event_loop.run(_gone(Request({"type": "http", "headers": []}, receive)))
