"""The route of the result URLs."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from sandbox.results import Result
from sandbox.spoiling import spoil
from sandbox.state import sandbox_of

UNAVAILABLE_DOWNLOADS = 2
UNSTEADY = (503, 503, 404)

router = APIRouter()


@router.get("/results/{name}")
async def download(name: str, request: Request) -> Response:
    """Answer the cutout, or 404 once the URL is dead."""
    sandbox = sandbox_of(request)
    result = sandbox.results.take(name)
    if result is None:
        return PlainTextResponse("no such result, or it is dead", 404)
    if result.fault == "result_unavailable" and result.downloads < UNAVAILABLE_DOWNLOADS:
        return PlainTextResponse("service unavailable", 503)
    if result.fault == "result_unsteady" and result.downloads < len(UNSTEADY):
        return PlainTextResponse("not now", UNSTEADY[result.downloads])
    try:
        picture = await sandbox.cutouts.picture(result)
    except FileNotFoundError:
        return PlainTextResponse("the result died while it was made", 404)
    except OSError as undecodable:
        return PlainTextResponse(f"the picture cannot be decoded: {undecodable}", 500)
    served, media_type = await asyncio.to_thread(spoil, picture, result.fault, _media_type(result))
    return Response(served, media_type=media_type)


def _media_type(result: Result) -> str:
    return "image/jpeg" if result.return_form == "whiteBK" else "image/png"
