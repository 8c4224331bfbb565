"""Cutouts that a listing of the bucket has shown: a page confirms up to a thousand for the cost of a few.

A listing tells size and time of change, no checksum. An object that was changed after its cutout was stored
is not confirmed, nor is one that was not seen: both are asked for by themselves.
"""

import logging
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from cutout.storage import Bucket, PageEntry, StorageError, StorageRefusedError

log = logging.getLogger(__name__)

SEEN_FOR_S = 600.0
# Some 350 bytes each.
MOST_SEEN = 50_000
# So many requests for one object each cost as much as a page.
WORTH_A_PAGE = 16
# Pages that may confirm nothing: each producer begins with some; confirmed keys earn more, and so do minutes.
FIRST_PAGES, MOST_PAGES = 10.0, 40.0
PAGE_EVERY_S = 60.0
MOST_OWNERS = 1000
# Clocks of Postgres and the bucket may differ by so much.
CLOCKS_DIFFER_BY = timedelta(minutes=1)
REFUSED_FOR_S = 600.0


class WantedCutout(NamedTuple):
    """An object as it was stored, and when that was."""

    key: str
    size_bytes: int
    stored_at: datetime


class _Seen(NamedTuple):
    entry: PageEntry
    seen_at: float

    def confirms(self, wanted: WantedCutout, now: float) -> bool:
        if now - self.seen_at >= SEEN_FOR_S or self.entry.size != wanted.size_bytes:
            return False
        try:
            return self.entry.modified_at <= wanted.stored_at + CLOCKS_DIFFER_BY
        except (ValueError, TypeError):
            return False


class _Pages(NamedTuple):
    left: float
    counted_at: float


class ListedCutouts:
    """Objects that pages of the bucket's listing have shown, for ten minutes. Safe to share between threads.

    Where keys lie so far apart that a page confirms few, a producer's pages are soon spent, and nothing is
    listed for it: that costs a few pages more than to ask for each object.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._pages: OrderedDict[uuid.UUID | None, _Pages] = OrderedDict()
        self._refused_at = -REFUSED_FOR_S

    def confirm(self, wanted: Iterable[WantedCutout], owner: uuid.UUID | None) -> set[str]:
        """The keys among these of one producer whose objects a listing shows as they were stored."""
        asked = {each.key: each for each in wanted}
        confirmed = self._confirmed(asked.values())
        self._earn(owner, len(confirmed) / WORTH_A_PAGE)
        left = sorted(asked.keys() - confirmed)
        after = ""
        while len(left) >= WORTH_A_PAGE and self._may_list(owner):
            page = self._list(_common(left[0], left[-1]), max(_before(left[0]), after))
            found = self._confirmed(asked[key] for key in left if key in page)
            confirmed |= found
            self._earn(owner, len(found) / WORTH_A_PAGE - 1)
            if not page:
                break
            after = max(page)
            left = [key for key in left if key > after]
        return confirmed

    def forget(self, key: str) -> None:
        """Forget an object that the bucket does not hold any more."""
        with self._lock:
            self._seen.pop(key, None)

    def _confirmed(self, wanted: Iterable[WantedCutout]) -> set[str]:
        now = time.monotonic()
        with self._lock:
            return {
                each.key
                for each in wanted
                if (seen := self._seen.get(each.key)) is not None and seen.confirms(each, now)
            }

    def _list(self, prefix: str, after: str) -> set[str]:
        """List a page and keep what it shows; returns its keys, none if the bucket does not list."""
        seen_at = time.monotonic()
        try:
            page = self._bucket.page(prefix, after=after)
        except StorageRefusedError as error:
            log.warning("cutouts are asked for one by one, since the bucket refuses to list: %s", error)
            self._refused_at = seen_at
            return set()
        except StorageError as error:
            # The requests for single objects tell whether the bucket can be reached.
            log.debug("the bucket was not listed: %s", error)
            return set()
        with self._lock:
            for each in page:
                self._seen[each.key] = _Seen(each, seen_at)
                self._seen.move_to_end(each.key)
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
        return {each.key for each in page}

    def _may_list(self, owner: uuid.UUID | None) -> bool:
        return time.monotonic() - self._refused_at > REFUSED_FOR_S and self._earn(owner, 0.0) >= 1

    def _earn(self, owner: uuid.UUID | None, pages: float) -> float:
        """Add to the pages that a producer may list; returns how many it has."""
        now = time.monotonic()
        with self._lock:
            left, counted_at = self._pages.pop(owner, _Pages(FIRST_PAGES, now))
            left = min(left + (now - counted_at) / PAGE_EVERY_S + pages, MOST_PAGES)
            self._pages[owner] = _Pages(left, now)
            if len(self._pages) > MOST_OWNERS:
                self._pages.popitem(last=False)
            return left


def _common(first: str, last: str) -> str:
    """The begin that two keys have in common, by characters."""
    return os.path.commonprefix([first, last])  # noqa: RUF071


def _before(key: str) -> str:
    """A text that sorts right before the key: a listing after it begins with the key."""
    begin, last = key[:-1], key[-1]
    return begin + chr(ord(last) - 1) + "\x7f" if "!" < last <= "\x7e" else begin
