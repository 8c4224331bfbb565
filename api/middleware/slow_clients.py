"""Cuts off clients that send a body too slowly: what they hold, others wait for."""

import asyncio
import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import ProblemError

# A body may take so long, and as long again as its bytes take at the slowest rate.
GRACE_S = 20.0
SLOWEST_BYTES_PER_SECOND = 16 * 1024
# 5 GB at 11 Mbit/s. Whoever is slower sends parts, or names an address.
WHOLE_WITHIN_S = 3600.0


class SlowClients:
    """ASGI middleware: bounds the time that a body takes to come.

    api/server.py bounds what comes before it and how slowly an answer is read.
    """

    grace_s = GRACE_S
    slowest = SLOWEST_BYTES_PER_SECOND
    whole_within_s = WHOLE_WITHIN_S

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began_at, ends_at, whole = 0.0, 0.0, False

        async def in_time() -> Message:
            nonlocal began_at, ends_at, whole
            if whole:
                return await receive()
            began_at = began_at or time.monotonic()
            ends_at = min(ends_at or began_at + self.grace_s, began_at + self.whole_within_s)
            try:
                async with asyncio.timeout(ends_at - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise ProblemError(
                    HTTPStatus.REQUEST_TIMEOUT,
                    "too-slow",
                    f"the body came slower than {self.slowest:g} bytes a second, or took longer than"
                    f" {self.whole_within_s:g} s; nothing was stored",
                    headers={"Connection": "close"},
                ) from None
            whole = not message.get("more_body", False)
            ends_at += len(message.get("body", b"")) / self.slowest
            return message

        await self.app(scope, in_time, send)
