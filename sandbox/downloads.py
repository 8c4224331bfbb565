"""The route of the result URLs."""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from sandbox.results import Result
from sandbox.state import sandbox_of

UNAVAILABLE_DOWNLOADS = 2

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
    try:
        picture = await sandbox.cutouts.picture(result)
    except FileNotFoundError:
        return PlainTextResponse("the result died while it was made", 404)
    except OSError as undecodable:
        return PlainTextResponse(f"the picture cannot be decoded: {undecodable}", 500)
    return Response(_served(picture, result), media_type=_media_type(result))


def _served(picture: bytes, result: Result) -> bytes:
    return picture[: len(picture) // 2] if result.fault == "truncated_image" else picture


def _media_type(result: Result) -> str:
    return "image/jpeg" if result.return_form == "whiteBK" else "image/png"
