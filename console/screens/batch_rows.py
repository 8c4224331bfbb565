"""Rows of batches for lists: what is known without counting, and counts of those that are open."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, or_, select

from console.changes.batch import press_for
from console.pages import Asked
from console.shared_counts import Count
from console.viewer import Viewer
from cutout.enums import FINAL_STATES, BatchState, State
from cutout.models import BATCHES, INGESTS, PRODUCERS
from cutout.status.batch_credits import write_down_credits
from cutout.status.batch_state import STATE

# A batch with results has ended, and `tally` has its counts. Both sides have a partial index.
IS_OPEN = or_(
    BATCHES.c.id.in_(
        select(BATCHES.c.id).where(BATCHES.c.results_key.is_(None), BATCHES.c.last_virtual_start > 0)
    ),
    BATCHES.c.id.in_(select(INGESTS.c.batch_id).where(INGESTS.c.finished_at.is_(None))),
)
HAS_ENDED = BATCHES.c.results_key.is_not(None)
CREDITS_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch as a list shows it; `counts` is None while nobody counted it.

    `credits_at` is when they were counted, if they were not written down as it ended.
    `press` is the button that the viewer has, `pause` or `resume`; `revision` is what it sends along.
    """

    id: uuid.UUID
    name: str
    producer: str | None
    created_at: datetime
    state: BatchState
    is_paused: bool
    counts: dict[State, int] | None
    credits: int | None = None
    credits_at: datetime | None = None
    eta_seconds: int | None = None
    counted_at: datetime | None = None
    press: str = ""
    revision: int = 0

    @property
    def total(self) -> int:
        return sum((self.counts or {}).values())

    @property
    def done(self) -> int:
        return sum(number for state, number in (self.counts or {}).items() if state in FINAL_STATES)

    def number(self, state: str) -> int:
        """The number of its jobs in a state."""
        return (self.counts or {}).get(State(state), 0)


def own(viewer: Viewer) -> list[ColumnElement[bool]]:
    """The condition that bounds batches to what the viewer may see."""
    shown: list[ColumnElement[bool]] = [BATCHES.c.deleted_at.is_(None)]
    return shown if viewer.is_operator else [*shown, BATCHES.c.producer_id == viewer.producer_id]


def read_rows(
    connection: Connection, viewer: Viewer, *conditions: ColumnElement[bool], limit: int
) -> Sequence[BatchRow]:
    """The newest batches that the viewer may see, without counts but those of ended ones."""
    names = ("id", "name", "created_at", "tally", "credits", "results_key", "revision", "producer_id")
    columns = [BATCHES.c[name] for name in (*names, "cancelled_at", "paused_at", "paused_by_operator_at")]
    paused = or_(BATCHES.c.paused_at.is_not(None), BATCHES.c.paused_by_operator_at.is_not(None))
    newest = (
        select(BATCHES.c.id)
        .where(*own(viewer), *conditions)
        .order_by(BATCHES.c.id.desc())
        .limit(limit)
        .subquery("newest")
    )
    found = connection.execute(
        select(*columns, PRODUCERS.c.name.label("producer"), STATE.label("state"), paused.label("is_paused"))
        .select_from(BATCHES)
        .join(newest, newest.c.id == BATCHES.c.id)
        .outerjoin(PRODUCERS, PRODUCERS.c.id == BATCHES.c.producer_id)
        .order_by(BATCHES.c.id.desc())
    )
    return [
        BatchRow(
            row.id,
            row.name,
            row.producer if viewer.is_operator else None,
            row.created_at,
            BatchState(row.state),
            row.is_paused,
            _tally(row.tally) if row.results_key else None,
            credits=row.credits if row.results_key else None,
            press=press_for(row, viewer, is_open=row.results_key is None and row.cancelled_at is None),
            revision=row.revision,
        )
        for row in found
    ]


async def counted(asked: Asked, rows: Sequence[BatchRow]) -> list[BatchRow]:
    """The rows with the counts of those that are open, and the credits of those that have ended."""
    rows = [_with_credits(asked, row) for row in rows]
    open_ = [row.id for row in rows if row.counts is None and row.state is not BatchState.FINISHED]
    counts = await asked.console.counts.of_all(open_, asked.viewer.producer_id)
    return [with_count(row, counts.get(row.id)) for row in rows]


def with_count(row: BatchRow, count: Count | None) -> BatchRow:
    """The row with a count, if there is one."""
    if count is None:
        return row
    status = count.batch.status
    return replace(
        row,
        state=status.state,
        counts=status.counts,
        credits=count.batch.credits,
        eta_seconds=count.batch.eta_seconds,
        counted_at=count.at,
    )


def _with_credits(asked: Asked, row: BatchRow) -> BatchRow:
    """The row with its credits; those that nobody wrote down are counted beside the page."""
    if row.counts is None or row.credits is not None:
        return row

    def count(engine: Engine) -> int:
        return write_down_credits(engine, row.id)

    of = asked.viewer.producer_id
    key = ("credits", row.id, of is None)
    found = asked.console.looks.look(key, count, every_s=CREDITS_EVERY_S, of=of)
    return replace(row, credits=found.value, credits_at=found.as_of)


def _tally(tally: dict[str, int] | None) -> dict[State, int] | None:
    return None if tally is None else {State(state): number for state, number in tally.items()}
