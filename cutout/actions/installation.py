"""Actions on the whole installation, each with its row."""

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.actions.chunks import LongAction
from cutout.enums import ActionKind
from cutout.producers.action_record import EVERYTHING, Extent, record
from cutout.producers.actors import Asked
from cutout.queue.reuse import missing_results


def forget_missing(session: Session, asked: Asked) -> int:
    """Let jobs buy cutouts anew that the bucket lacks, each for a credit; returns how many."""
    forgotten = missing_results.forget(session)
    if forgotten:
        extent = Extent(forgotten, forgotten, forgotten)
        record(session, asked, ActionKind.FORGET_MISSING, EVERYTHING, extent)
    return forgotten


def begin_erasure(engine: Engine, asked: Asked) -> LongAction:
    """Record that all data about a picture is being erased; of the picture itself nothing is kept."""
    return _begun(engine, asked, ActionKind.ERASE)


def record_migration(engine: Engine, asked: Asked, revision: str) -> None:
    """Record that the database was brought to a schema, once it has it."""
    with engine.begin() as connection:
        record(connection, asked, ActionKind.MIGRATE, EVERYTHING, options={"schema": revision})


def begin_repairs(engine: Engine, asked: Asked) -> LongAction:
    """Record that the auditor repairs what it finds, at a person's word."""
    return _begun(engine, asked, ActionKind.REPAIR)


def _begun(engine: Engine, asked: Asked, kind: ActionKind) -> LongAction:
    action = LongAction(asked, kind, EVERYTHING)
    with engine.begin() as connection:
        action.begin(connection)
    return action
