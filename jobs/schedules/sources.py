"""What a schedule may read: the same as an ingest, by a name that means the same on every machine."""

from jobs.addresses import not_an_address
from jobs.characters import CONTROL
from jobs.enqueueing import LONGEST_SOURCE, InvalidJobError, NewJob
from jobs.schedules.errors import InvalidScheduleError
from jobs.storage import split_address

# Plain http is for private hosts, which the settings name; whoever reads it holds to that.
WEB, BUCKET = ("https://", "http://"), "s3://"


def require_source(source: str, *, on_the_web: bool = False) -> None:
    """Raise InvalidScheduleError unless it is a manifest's address, a prefix of a bucket or an absolute path.

    `on_the_web` takes the address alone: who is not an operator names no places of ours.
    """
    shown = source[:200]
    if source.startswith(WEB):
        try:
            NewJob(source)
        except InvalidJobError as error:
            raise _invalid(str(error)) from None
        return
    if fault := not_an_address(source):
        raise _invalid(f"the source {shown!r} {fault}")
    if on_the_web:
        raise _invalid(f"the source {shown!r} does not begin with {WEB[0]}; give the address of a manifest")
    if len(source) > LONGEST_SOURCE:
        raise _invalid(f"the source has {len(source)} characters; use at most {LONGEST_SOURCE}")
    if CONTROL.search(source):
        raise _invalid(f"the source {shown!r} has control characters; remove them")
    if source.startswith(BUCKET):
        if not (split_address(source) or ("", ""))[0]:
            raise _invalid(f"the source {shown!r} names no bucket; write s3://bucket/prefix")
    elif not source.startswith("/"):
        raise _invalid(
            f"the source {shown!r} is no https:// address, no s3://bucket/prefix and no absolute path; give"
            " one of them"
        )


def _invalid(text: str) -> InvalidScheduleError:
    return InvalidScheduleError("source", text)
