"""Actions on batches, carried out here as the leading dispatcher does."""

from collections.abc import Iterator

from sqlalchemy import Engine

from cutout.administration.delete_batch import delete_portion
from cutout.enums import ActionKind
from cutout.queue.batch_actions.carry_out import Turn, carry_on, take_turn
from cutout.queue.batch_actions.portions import PORTIONS
from cutout.storage import Bucket
from worker.dispatcher.action_runner import NO_PRODUCER


def turns(engine: Engine, bucket: Bucket | None = None) -> Iterator[Turn]:
    """Carry out one portion after another, until no action is due; deletions only with a bucket."""
    kinds, last = [*PORTIONS, *([ActionKind.DELETE] if bucket else [])], NO_PRODUCER
    while (turn := take_turn(engine, kinds, last)) is not None:
        last = turn.owner
        if turn.kind is not ActionKind.DELETE:
            carry_on(engine, turn.action_id, PORTIONS[turn.kind])
        elif bucket is not None:
            delete_portion(engine, bucket, turn.action_id)
        yield turn


def carry_out(engine: Engine, bucket: Bucket | None = None) -> int:
    """Carry out all actions that are due; returns the number of portions."""
    return sum(1 for _ in turns(engine, bucket))
