"""Names of files that a browser saves: after the batch, safe for every file system and header."""

import re
import unicodedata
from urllib.parse import quote

LONGEST_NAME = 80
WITHOUT_NAME = "batch"
_ASCII_ONLY = re.compile(r"[^A-Za-z0-9._-]+")
# Letters and digits of any language; no quotes, slashes, controls, or marks that turn the text around.
_UNSAFE = re.compile(r"[^\w.-]+")


def saved_as(name: str, end: str) -> str:
    """The header `Content-Disposition` of a file that is saved under a batch's name and this end."""
    readable = (
        _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip("._-")[:LONGEST_NAME] or WITHOUT_NAME
    )
    plain = _ASCII_ONLY.sub("_", readable).strip("._-") or WITHOUT_NAME
    header = f'attachment; filename="{plain}{end}"'
    # Old clients read the first, all others the second.
    return header if plain == readable else f"{header}; filename*=UTF-8''{quote(readable + end)}"
