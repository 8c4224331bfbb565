"""SHA-256 of a job's source without fetching it: in the address of an upload, remembered of a web address.

The former is `sha256_in_key` of object_keys.py in SQL, by functions of text instead of a regular expression,
which took 60 µs a job, three times. The latter holds only if the server says that the source is unchanged.
"""

from sqlalchemy import ColumnElement, Text, and_, bindparam, case, func, or_, select

from cutout.models import JOBS, SOURCES
from cutout.queue.blocks.download_limit import is_on_the_web

# The addresses of a bucket's uploaded sources begin with this: see `uploaded_sources`.
UPLOADED = bindparam("uploaded", type_=Text)
HEX = "0123456789abcdef"
# `ab/` and the digits, behind the id of a producer and a slash or not.
NAME_LENGTH, OWNER_LENGTH = 67, 37

_REST = func.substr(JOBS.c.source, func.length(UPLOADED) + 1)
_NAME = func.right(JOBS.c.source, NAME_LENGTH)


def _holds_only(text: ColumnElement[str], letters: str, *, rest: str) -> ColumnElement[bool]:
    """Whether nothing but `rest` is left of the text without these letters."""
    return func.translate(text, letters, "") == rest


_IS_UPLOADED = and_(
    func.starts_with(JOBS.c.source, UPLOADED),
    or_(
        func.length(_REST) == NAME_LENGTH,
        and_(
            func.length(_REST) == NAME_LENGTH + OWNER_LENGTH,
            func.substr(_REST, OWNER_LENGTH, 1) == "/",
            _holds_only(func.left(_REST, OWNER_LENGTH), f"{HEX}-", rest="/"),
        ),
    ),
    func.substr(_NAME, 3, 1) == "/",
    _holds_only(_NAME, HEX, rest="/"),
)
IS_REMEMBERED = and_(
    is_on_the_web(JOBS.c.source),
    SOURCES.c.address_sha256 == func.sha256(func.convert_to(JOBS.c.source, "UTF8")),
)
_REMEMBERED = select(SOURCES.c.content_sha256).where(IS_REMEMBERED).correlate(JOBS).scalar_subquery()
_SHA256 = func.decode(func.right(JOBS.c.source, 64), "hex")
CONTENT_SHA256: ColumnElement[bytes] = case(
    (_IS_UPLOADED, _SHA256), (is_on_the_web(JOBS.c.source), _REMEMBERED)
)
"""The SHA-256 of the job's source; NULL unless it was uploaded into the bucket or is remembered."""
