"""Effect of each fault on the call that it strikes."""

import asyncio
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from sandbox.connection import Dropped, DroppedMidway
from sandbox.error_codes import CallRefusedError
from sandbox.faults import Fault
from sandbox.state import Sandbox

LONG_URL = 5000


async def strike_before_charge(fault: Fault, request: Request, sandbox: Sandbox) -> Response | None:
    """Give the answer of a fault whose call is not charged, None for the others; raises CallRefusedError."""
    match fault.kind:
        case "code":
            raise CallRefusedError(str(fault.code), fault.retry_after)
        case "hang":
            await _hang(fault.seconds, request, sandbox)
            return Dropped()
        case "drop_before":
            return Dropped()
        case "not_json":
            return PlainTextResponse("bad gateway", 502)
        case "html":
            return HTMLResponse("<!doctype html><title>Welcome</title><h1>It works!</h1>")
        case "gateway_before":
            page = "<html><head><title>Request blocked</title></head><body>firewall</body></html>"
            return HTMLResponse(page, fault.status or 403)
        case _:
            return None


def spoil_data(fault: Fault, data: dict[str, str]) -> dict[str, Any] | None:
    """Spoil the `data` of the answer to a charged call."""
    match fault.kind:
        case "data_null":
            return None
        case "no_url":
            return {"image_url": ""}
        case "ftp_url":
            return {"image_url": data["image_url"].replace("http", "ftp", 1)}
        case "url_elsewhere":
            return {"elements": [data["image_url"]]}
        case "long_url":
            return {"image_url": f"{data['image_url']}?signature={'0' * LONG_URL}"}
        case _:
            return data


async def strike_after_charge(fault: Fault, request: Request, sandbox: Sandbox, answer: Response) -> Response:
    match fault.kind:
        case "hang_after":
            await _hang(fault.seconds, request, sandbox)
            return Dropped()
        case "drop_after":
            return Dropped()
        case "drop_midway":
            return DroppedMidway(answer.body, media_type=answer.media_type)
        case "gateway_after":
            page = "<html><head><title>Gateway time-out</title></head><body>nginx</body></html>"
            return HTMLResponse(page, fault.status or 504)
        case _:
            return answer


async def _hang(seconds: float, request: Request, sandbox: Sandbox) -> None:
    """Wait, but no longer than the client or the sandbox itself."""
    ends = [asyncio.ensure_future(sandbox.stopping.wait()), asyncio.ensure_future(request.receive())]
    try:
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
