"""Rendering process: makes the outputs of one picture after the other, for a renderer at its pipes.

Started with `python -m` and its memory limit in bytes. It keeps the present picture between requests, so
that its alpha is enlarged once for all outputs. It ends when its input ends.
"""

import sys
import time
from typing import Any

from cutout.images.frames import serve
from cutout.images.unfit_image import UnfitImage
from cutout.outputs.child_protocol import MAKE, NEEDS, OPEN, PARTS, SCORE
from cutout.outputs.output_error import OutputError
from cutout.outputs.picture import Picture


class Child:
    """The present picture, and the answers to requests about it."""

    def __init__(self) -> None:
        self._picture: Picture | None = None

    def answer(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Answer one request; a picture or recipe that cannot be used is an answer as well."""
        began = time.process_time()
        try:
            header, made = self._answer(request, data)
        except UnfitImage as error:
            if error.code == "IMAGE_TOO_MANY_PIXELS":
                # It was sent before: not the picture is too large, but the memory of this process too small.
                self._picture = None
                return {"no_memory": True}, b""
            return {"unfit": [error.code, error.message]}, b""
        except OutputError as error:
            return {"unfit": [error.code, error.message]}, b""
        except MemoryError:
            self._picture = None
            return {"no_memory": True}, b""
        return header | {"cpu_seconds": time.process_time() - began}, made

    def _answer(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        if request["op"] == OPEN:
            self._picture = None
            self._picture = Picture.of(_parts(request, data), request)
            return {"pixels": self._picture.pixels}, b""
        picture = self._picture
        if picture is None:
            raise ValueError(f"{request['op']!r} without an open picture")
        if request["op"] == NEEDS:
            return {"source": any(picture.needs_source(recipe) for recipe in request["recipes"])}, b""
        if request["op"] == SCORE:
            return picture.score(), b""
        if request["op"] == MAKE:
            return picture.make(request["recipe"])
        raise ValueError(f"{request['op']!r} is no request")


def _parts(request: dict[str, Any], data: bytes) -> dict[str, bytes]:
    parts, begin = {}, 0
    for name in PARTS:
        size = request["sizes"].get(name)
        if size is not None:
            parts[name] = data[begin : begin + size]
            begin += size
    return parts


if __name__ == "__main__":
    serve(Child().answer, int(sys.argv[1]))
