"""URLs that a row may name its picture by."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from cutout.ingest.ingest_errors import UnusableError
from cutout.network.url_hints import invisible_ends, not_an_address
from cutout.network.url_rules import reach_fault
from cutout.queue.enqueue import LONGEST_SOURCE, InvalidJobError, NewJob
from cutout.settings import Settings
from cutout.storage import split_address
from cutout.text import CONTROL

# Common URLs are accepted by this pattern alone: the full check takes as long as reading the row. Up to eight
# labels of 30 characters make a host that is short enough, and the last one is not a number.
COMMON = re.compile(
    r"https://(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,28}[A-Za-z0-9])?+\.){1,7}+(?!(?i:localhost)\b)"
    r"[A-Za-z][A-Za-z0-9]{0,29}+(?::[1-9][0-9]{0,3})?+(?:[/?][!-~]*+)?"
)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Rules for addresses. `bucket` is our own; `others` are further buckets that pictures may be read from.

    `private` are hosts that may have private IP addresses and may be reached by http.
    """

    bucket: str
    others: Sequence[str] = ()
    private: Sequence[str] = ()
    web_only: bool = False
    buckets: Collection[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "buckets", {self.bucket, *self.others})

    @classmethod
    def of(cls, settings: Settings) -> "Addresses":
        """Return the rules of the settings."""
        return cls(settings.s3_bucket, settings.source_buckets, settings.source_private_hosts)

    @classmethod
    def on_the_web(cls, settings: Settings) -> "Addresses":
        """Return the rules for producers on the network: our buckets also hold other producers' pictures."""
        return cls("", private=settings.source_private_hosts, web_only=True)

    def check(self, source: str) -> str | None:
        """Return the address as a job stores it, or None if it is a bare name.

        Raises UnusableError if it can never work.
        """
        if COMMON.fullmatch(source):
            return source
        scheme = SCHEME.match(source)
        if not scheme:
            if source.startswith("//") and (fault := not_an_address(source)):
                raise UnusableError(fault)
            return None
        if fault := invisible_ends(source):
            raise UnusableError(fault)
        match scheme[0].lower():
            case "https://" | "http://":
                return self._from_web(source)
            case "s3://":
                return self._from_bucket(f"s3://{source[len('s3://') :]}")
            case other:
                if fault := not_an_address(source):
                    raise UnusableError(fault)
                raise UnusableError(f"begins with {other[:40]}; name a file, an https:// or an s3:// address")

    def of_key(self, key: str) -> str:
        """Return the address of an object in our own bucket. Raises UnusableError."""
        address = f"s3://{self.bucket}/{key}"
        return self._from_bucket(address) if self.web_only or not key else _usable(address)

    def require_bucket(self, name: str) -> None:
        """Raise UnusableError if pictures may not be read from that bucket."""
        if name not in self.buckets:
            raise UnusableError(
                f"names the bucket {name[:80]!r}; pictures are read from {', '.join(sorted(self.buckets))}:"
                " add it to CUTOUT_SOURCE_BUCKETS"
            )

    def _from_web(self, source: str) -> str:
        try:
            NewJob(source)
        except InvalidJobError as error:
            raise UnusableError(str(error)) from None
        if fault := reach_fault(source, self.private):
            raise UnusableError(fault)
        return source

    def _from_bucket(self, source: str) -> str:
        if self.web_only:
            raise UnusableError("is in a bucket; give an https:// address")
        name, key = split_address(source) or ("", "")
        if not name or not key:
            raise UnusableError("does not name an object; write s3://bucket/key")
        self.require_bucket(name)
        return _usable(source)


def _usable(address: str) -> str:
    if len(address) > LONGEST_SOURCE:
        raise UnusableError(f"the address has {len(address)} characters; use at most {LONGEST_SOURCE}")
    # isprintable is fast and true for nearly all.
    if not address.isprintable() and CONTROL.search(address):
        raise UnusableError("has control characters; rename the object")
    return address
