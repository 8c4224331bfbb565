"""Decoder process: prepares pictures, one after the other, for a worker at the other end of its pipes.

Started with `python -m` and its memory limit in bytes. It ends when its input ends, as it does when the
worker dies.
"""

import sys
from collections.abc import Callable
from typing import Any

from cutout.images.frames import serve
from cutout.images.image import PreparedImage, prepare, refit
from cutout.images.unfit_image import UnfitImage

HOW: dict[str, Callable[[bytes], PreparedImage]] = {"prepare": prepare, "refit": refit}


def answer(request: dict[str, Any], source: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the prepared picture, or the reason why there is none."""
    try:
        image = HOW[request["how"]](source)
    except UnfitImage as error:
        return {"unfit": [error.code, error.message]}, b""
    except MemoryError:
        return {"no_memory": True}, b""
    fields = {
        "media_type": image.media_type,
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
        "changes": list(image.changes),
        "notes": list(image.notes),
    }
    return {"image": fields}, image.data


if __name__ == "__main__":
    serve(answer, int(sys.argv[1]))
