"""Reading a call's multipart body, within bounds."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from sandbox.error_codes import CallRefusedError

ReturnForm = Literal["mask", "whiteBK", "crop"]

# Over the picture's own limit of 3 MB, so that a picture too large gets the code for pictures.
BODY_LIMIT = 10_000_000


@dataclass(frozen=True)
class Upload:
    """A call's picture as received, and the form asked for; None is the four-channel PNG."""

    image: bytes
    return_form: ReturnForm | None


async def read_upload(request: Request) -> Upload:
    """Read the body, or raise the documented code for what is wrong with it."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise CallRefusedError("MISSING_PARAMETERS")
    parser = MultiPartParser(request.headers, _bounded(request), max_files=10, max_fields=10)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as malformed:
        raise CallRefusedError("ERROR_PARAMETERS") from malformed
    try:
        return Upload(image=await _image(form), return_form=_return_form(form))
    finally:
        await form.close()


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > BODY_LIMIT:
            raise CallRefusedError("ERROR_REQUEST_BODY_TOO_LARGE")
        yield chunk


async def _image(form: FormData) -> bytes:
    parts = form.getlist("image")
    if len(parts) > 1:
        raise CallRefusedError("ERROR_TOO_MANY_FILES")
    # A part without a file name is a text field to a web server, and so no image.
    if not parts or not isinstance(parts[0], UploadFile):
        raise CallRefusedError("MISSING_PARAMETERS")
    image = await parts[0].read()
    if not image:
        raise CallRefusedError("PARAMETERS_CANNOT_EMPTY")
    return image


def _return_form(form: FormData) -> ReturnForm | None:
    asked = form.get("return_form")
    if asked is None:
        return None
    if asked == "":
        raise CallRefusedError("PARAMETERS_CANNOT_EMPTY")
    if asked not in get_args(ReturnForm):
        raise CallRefusedError("UNSUPPORTED_PARAMETER_VALUES")
    return cast("ReturnForm", asked)
