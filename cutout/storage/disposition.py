"""Content disposition and type of objects, signed into each public link and independent of the bucket.

Browsers show pictures and save everything else as a file; nothing is displayed as a page of the bucket's
origin.
"""

import re

PICTURES = {
    "bmp": "image/bmp",
    "gif": "image/gif",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "webp": "image/webp",
}
FILES = {
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
}
ANY_TYPE = "application/octet-stream"
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
LONGEST_NAME = 200


def shown_as(key: str, media_type: str | None = None) -> dict[str, str]:
    """The parameters of a link to an object of this type, by default the type of the key's extension.

    An unknown type is replaced by application/octet-stream, which is saved.
    """
    name = key.rpartition("/")[2]
    if media_type is None:
        extension = name.rpartition(".")[2]
        media_type = PICTURES.get(extension) or FILES.get(extension) or ANY_TYPE
    is_picture = media_type in PICTURES.values()
    if not is_picture and media_type not in FILES.values():
        media_type = ANY_TYPE
    way = "inline" if is_picture else "attachment"
    return {
        "response-content-disposition": f'{way}; filename="{UNSAFE.sub("_", name)[-LONGEST_NAME:]}"',
        "response-content-type": media_type,
    }
