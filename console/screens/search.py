"""Search: jobs and batches by SKU, id or name."""

from console.pages import SEARCH, Asked, screen
from console.screens.router import screen_router
from console.views import View
from cutout.status.search import MOST_FOUND, Found, search

router = screen_router()


@screen(router, SEARCH)
async def find(asked: Asked) -> View:
    """Where is this SKU, batch or id?"""
    term = asked.text("q").strip()
    found = await asked.read(lambda connection: search(connection, term, asked.viewer.producer_id))
    values = {"term": term, "found": found, "most": MOST_FOUND, "base_url": asked.base_url}
    return View("search.html", f"Search: {term}" if term else "Search", values, goes_to=_only(found))


def _only(found: Found) -> str | None:
    """The address of the one hit, if older batches cannot have another."""
    if len(found.jobs) + len(found.batches) != 1 or not found.complete:
        return None
    if found.jobs:
        return f"/console/jobs/{found.jobs[0].id}"
    return f"/console/batches/{found.batches[0].id}"
