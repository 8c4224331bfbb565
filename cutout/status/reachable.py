"""Addresses that this installation can never fetch from, refused before anything is stored."""

from collections.abc import Iterable

from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.source_urls import Addresses
from cutout.settings import Settings
from cutout.status.producer_texts import text_for_producer


def unreachable_fault(settings: Settings, urls: Iterable[str]) -> str | None:
    """The fault of the first address that can never be fetched, in a manifest's words; None without one."""
    addresses = Addresses.on_the_web(settings)
    for url in urls:
        try:
            addresses.check(url)
        except UnusableError as error:
            return f"the address {url[:200]!r} {text_for_producer(str(error))}"
    return None
