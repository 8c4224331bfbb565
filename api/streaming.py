"""A file sent while it is written, to a client that takes it in."""

import uuid
from collections.abc import AsyncIterator, Iterator

from anyio import fail_after
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.limits.producer_threads import Threads
from api.middleware.methods import wants_head_alone

# A client that reads nothing for this long is cut off: its memory is for clients that read.
SEND_WITHIN_S = 30.0
# 300 MB at 85 kB/s.
WHOLE_WITHIN_S = 3600.0


class PatientStream(StreamingResponse):
    """Ends with TimeoutError, and the connection with it, if a piece is not taken within SEND_WITHIN_S, or
    all within `whole_within_s`.
    """

    whole_within_s = WHOLE_WITHIN_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent_in_time(message: Message) -> None:
            with fail_after(SEND_WITHIN_S):
                await send(message)

        if wants_head_alone(scope):
            # Begun as the stream is, so that its head is the same.
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        with fail_after(self.whole_within_s):
            await super().__call__(scope, receive, sent_in_time)


async def in_turns(pieces: Iterator[bytes], threads: Threads, of: uuid.UUID) -> AsyncIterator[bytes]:
    """The pieces of a file, each made on a thread in a turn of the producer."""
    while (piece := await threads.finish(of, next, pieces, None)) is not None:
        yield piece
