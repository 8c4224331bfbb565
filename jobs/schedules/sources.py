"""What a schedule may read: the same as an ingest, by a name that means the same on every machine."""

import unicodedata
from urllib.parse import urlsplit

from jobs.enqueue import LONGEST_SOURCE
from jobs.schedules.errors import InvalidScheduleError
from jobs.storage import split_address

WEB, BUCKET = "https://", "s3://"


def require_source(source: str, *, on_the_web: bool = False) -> None:
    """Raise InvalidScheduleError unless it is an https address, a prefix of a bucket or an absolute path.

    `on_the_web` takes the address alone: who is not an operator names no places of ours.
    """
    shown = source[:200]
    if len(source) > LONGEST_SOURCE:
        raise _invalid(f"the source has {len(source)} characters; use at most {LONGEST_SOURCE}")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in source):
        raise _invalid(f"the source {shown!r} has control characters; remove them")
    if source.startswith(WEB):
        if not _is_address(source):
            raise _invalid(
                f"the source {shown!r} is not an https:// address without blanks or a password; mend it"
            )
    elif on_the_web:
        raise _invalid(f"the source {shown!r} does not begin with {WEB}; give the address of a manifest")
    elif source.startswith(BUCKET):
        if not (split_address(source) or ("", ""))[0]:
            raise _invalid(f"the source {shown!r} names no bucket; write s3://bucket/prefix")
    elif not source.startswith("/"):
        raise _invalid(
            f"the source {shown!r} is no https:// address, no s3://bucket/prefix and no absolute path; give"
            " one of them"
        )


def _is_address(source: str) -> bool:
    try:
        parts = urlsplit(source)
        # Asking for the port raises ValueError if it is none.
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and not (parts.username or parts.password or " " in source)


def _invalid(text: str) -> InvalidScheduleError:
    return InvalidScheduleError("source", text)
