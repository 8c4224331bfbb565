"""Counts of batches, for pages and lists together."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from console.handed import CountedBatch
from console.priced import Priced

AT_ONCE = 2
# One producer's large batches leave a turn to the others.
AT_ONCE_OF_ONE = 1


@dataclass(frozen=True, slots=True)
class Count:
    """A counted batch, and when it was counted."""

    batch: CountedBatch
    at: datetime


class SharedCounts:
    """Counts that were made lately are given out again; a large batch is counted less often."""

    def __init__(
        self, count: Callable[[uuid.UUID, uuid.UUID | None], Awaitable[CountedBatch | None]]
    ) -> None:
        self._counts: Priced[tuple[uuid.UUID, uuid.UUID | None], CountedBatch] = Priced(
            lambda key: count(*key), at_once=AT_ONCE, at_once_of_one=AT_ONCE_OF_ONE, one_of=lambda key: key[1]
        )

    async def of(
        self, batch_id: uuid.UUID, producer_id: uuid.UUID | None, *, soon: bool = False
    ) -> Count | None:
        """The batch with its counts; None if there is none such, or it is another producer's.

        With `soon` a count that is some seconds old will do.
        """
        found = await self._counts.get((batch_id, producer_id), soon=soon)
        return None if found is None else Count(found.value, found.at)

    async def of_all(
        self, batch_ids: list[uuid.UUID], producer_id: uuid.UUID | None
    ) -> dict[uuid.UUID, Count]:
        """The counts of those batches that there are, some of them some seconds old."""
        found = await asyncio.gather(*(self.of(each, producer_id, soon=True) for each in batch_ids))
        return {batch_id: count for batch_id, count in zip(batch_ids, found, strict=True) if count}
