"""Lists by pages."""

from collections.abc import Mapping
from typing import Any, TypeVar

from cutout_client.decode import read
from cutout_client.errors import BrokenAnswerError
from cutout_client.route import Route
from cutout_client.steps import Item, Items
from cutout_client.views.page import Page

T = TypeVar("T")


def each_of(
    route: Route[Page], kind: type[T], *parts: str, query: Mapping[str, Any], page_size: int | None
) -> Items[T]:
    """Yield the items of all pages; the next page is asked for once the one before has been taken."""
    cursor: str | None = None
    while True:
        page = yield from route.ask(*parts, query={**query, "limit": page_size, "cursor": cursor})
        for n, item in enumerate(page.data):
            yield Item(read(kind, item, f"data[{n}]"))
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise BrokenAnswerError("the next page is the one that was asked for")
        cursor = page.next_cursor
