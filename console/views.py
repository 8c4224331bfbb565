"""Views: what a screen shows, made once a second for all who see the same."""

import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from console.parts import Part
from console.viewer import Viewer
from cutout.telemetry.fresh_cache import FreshCache

# After a change nobody gets what was read before it for so long.
LATELY_S = 10.0
# A view with its rendered blocks has up to 500 kB, and whoever looks chooses its query.
MOST_VIEWS = 50


@dataclass(frozen=True, slots=True)
class View:
    """The values of a screen's template, and the title of its page; `read_at` is when they were read.

    `as_of` is what the page says, if some of them are older.
    `goes_to`: the address of another page that has the answer. `parts` are blocks of it that were rendered,
    by name: open pages ask for the same again and again.
    """

    template: str
    title: str
    values: Mapping[str, Any]
    read_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    as_of: datetime | None = None
    goes_to: str | None = None
    parts: dict[str, Part] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ScreenRequest:
    """A screen for one kind of viewer: equal questions have equal answers.

    `viewer` has no name: what one sees, all of the kind see. `frame` has the values around the view's own.
    """

    screen: str
    path: str
    query: str
    viewer: Viewer
    base_url: str
    frame: Mapping[str, Any] = field(compare=False, repr=False)
    ask: Callable[[], Awaitable[View]] = field(compare=False, repr=False)


class Views:
    """Answers to questions, each asked at most once a second."""

    def __init__(self) -> None:
        # On the monotonic clock, by producer; of operators, None. None of them is older than LATELY_S.
        self._changed_at: dict[uuid.UUID | None, float] = {}
        self._fresh: FreshCache[ScreenRequest, View] = FreshCache(_ask, most_kept=MOST_VIEWS)

    def changed(self, of: uuid.UUID | None) -> None:
        """Note that this producer, or an operator, has just changed something by a page.

        Whoever sees the same work and asks from now on sees it: those of the producer, or all.
        """
        now = time.monotonic()
        lately = {owner: at for owner, at in self._changed_at.items() if now - at < LATELY_S}
        self._changed_at = lately | {of: now}

    def changed_lately(self, of: uuid.UUID | None) -> bool:
        """Whether a page changed within LATELY_S what this producer's viewers, or operators, see at once."""
        return time.monotonic() - self._since(of) < LATELY_S

    def _since(self, of: uuid.UUID | None) -> float:
        return max(self._changed_at.get(owner, -math.inf) for owner in (of, None))

    async def get(self, wanted: ScreenRequest) -> View:
        """The answer; raises what the screen does."""
        found = await self._fresh.get(wanted, since=self._since(wanted.viewer.producer_id))
        if found is None:
            raise LookupError(wanted.screen)
        return found


async def _ask(wanted: ScreenRequest) -> View | None:
    return await wanted.ask()
