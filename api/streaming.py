"""A file sent while it is written, to a client that takes it in."""

from anyio import fail_after
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

# A client that reads nothing for this long is cut off: its memory is for clients that read.
SEND_WITHIN_S = 30.0
# 300 MB at 85 kB/s.
WHOLE_WITHIN_S = 3600.0


class PatientStream(StreamingResponse):
    """Ends with TimeoutError, and the connection with it, if a piece is not taken within SEND_WITHIN_S, or
    all within WHOLE_WITHIN_S.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent_in_time(message: Message) -> None:
            with fail_after(SEND_WITHIN_S):
                await send(message)

        with fail_after(WHOLE_WITHIN_S):
            await super().__call__(scope, receive, sent_in_time)
