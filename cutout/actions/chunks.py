"""Long actions that their caller, such as a command, carries out in chunks: one row, with the progress."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine, func, null, update

from cutout.enums import ActionKind
from cutout.models import ACTIONS
from cutout.models.database import Database
from cutout.producers.action_record import About, Extent, record
from cutout.producers.actors import Asked

Change = Callable[[Database, Sequence[uuid.UUID]], int]

NOT_THROUGH = "NOT_THROUGH"
MESSAGE = "it is being carried out, or was interrupted; what it did not come to stays as it is"


class LongAction:
    """One row for all chunks, made in the transaction of the first one that changes something.

    No dispatcher carries it on: if its process dies, the row keeps the code NOT_THROUGH.
    """

    def __init__(self, asked: Asked, kind: ActionKind, about: About) -> None:
        self._asked, self._kind, self._about = asked, kind, about
        self._id: uuid.UUID | None = None

    def begin(self, database: Database) -> None:
        """Make the row, in the transaction that accepts the action."""
        if self._id is None:
            self._id = record(database, self._asked, self._kind, self._about, Extent(changed=0))
            database.execute(
                update(ACTIONS).where(ACTIONS.c.id == self._id).values(code=NOT_THROUGH, message=MESSAGE)
            )

    def add(self, database: Database, changed: int) -> None:
        """Count what a chunk changed, in its transaction."""
        if not changed:
            return
        self.begin(database)
        database.execute(
            update(ACTIONS).where(ACTIONS.c.id == self._id).values(changed=ACTIONS.c.changed + changed)
        )

    def counted(self, change: Change) -> Change:
        """Build the change that also counts what it did."""

        def apply(database: Database, ids: Sequence[uuid.UUID]) -> int:
            changed = change(database, ids)
            self.add(database, changed)
            return changed

        return apply

    def finish(self, engine: Engine) -> None:
        """Write down that it is through; nothing if nothing was changed."""
        if self._id is None:
            return
        with engine.begin() as connection:
            connection.execute(
                update(ACTIONS)
                .where(ACTIONS.c.id == self._id)
                .values(code=null(), message=null(), finished_at=func.now())
            )


@contextmanager
def carried_out(engine: Engine, asked: Asked, kind: ActionKind, about: About) -> Iterator[LongAction]:
    """A long action, which is through when the block ends without an error."""
    action = LongAction(asked, kind, about)
    yield action
    action.finish(engine)
