"""The end of an output: made, adopted from another job, delayed for another try, or failed."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, null, select, union_all, update

from cutout.enums import OutputState
from cutout.models import JOBS, OUTPUTS, constant
from cutout.queue.outputs.ask import await_outputs
from cutout.queue.outputs.claim import ClaimedOutput, is_held
from cutout.queue.outputs.made_before import COPIED, MadeBefore
from cutout.text import cut

MOST_TRIES = 3
# Outputs that were given back because something could not be reached.
RELEASED_FOR = timedelta(seconds=10)
DELAYS = (timedelta(seconds=15), timedelta(minutes=2))


@dataclass(frozen=True, slots=True)
class MadeOutput:
    """A finished output. Without a `key` it has no file, as a score has none.

    `factor` is its enlargement against the picture that was sent; `problems` are rules that it does not meet.
    """

    version: int
    key: str | None = None
    sha256: bytes | None = None
    media_type: str | None = None
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    factor: float | None = None
    measures: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    note: str | None = None
    cpu_seconds: float | None = None


def finish(connection: Connection, output: ClaimedOutput, made: MadeOutput) -> bool:
    """Record what was made; false if the claim is lost."""
    values = {name: getattr(made, name) for name in MadeOutput.__slots__}
    values["problems"] = list(made.problems)
    return _end(connection, output, OutputState.MADE, **values)


def adopt(connection: Connection, output: ClaimedOutput, before: MadeBefore, key: str | None) -> bool:
    """Let the output have what was made before, under `key`; false if that is gone, or the claim is lost.

    The other row is locked: its deletion waits until this output has the object, or is seen here.
    """
    other = (
        select(OUTPUTS.c.bought_sha256, *(OUTPUTS.c[name] for name in COPIED))
        .where(
            OUTPUTS.c.job_id == before.job_id,
            OUTPUTS.c.name == before.name,
            OUTPUTS.c.state == constant(OutputState.MADE),
            OUTPUTS.c.key.is_not_distinct_from(before.key),
        )
        .with_for_update(read=True)
        .cte("other")
    )
    values = {name: other.c[name] for name in COPIED if name != "key"}
    with connection.begin():
        adopted = connection.execute(
            update(OUTPUTS)
            .where(and_(is_held(output), other.c.bought_sha256 == OUTPUTS.c.bought_sha256))
            .values(state=OutputState.MADE, finished_at=func.now(), key=key, cpu_seconds=0.0, **values)
        )
        return bool(adopted.rowcount)


def delay(connection: Connection, output: ClaimedOutput, code: str, message: str) -> None:
    """Try the output again later; after MOST_TRIES tries it has failed."""
    if output.tries >= MOST_TRIES:
        fail(connection, output, code, f"{message} (tried {output.tries} times)")
        return
    later = DELAYS[min(output.tries, len(DELAYS)) - 1]
    with connection.begin():
        connection.execute(
            update(OUTPUTS)
            .where(is_held(output))
            .values(due_at=func.now() + later, code=code, message=cut(message))
        )


def fail(connection: Connection, output: ClaimedOutput, code: str, message: str) -> bool:
    """Record that the output cannot be made; false if the claim is lost."""
    return _end(connection, output, OutputState.FAILED, code=code, message=cut(message))


def is_withdrawn(connection: Connection, output: ClaimedOutput, key: str) -> bool:
    """Whether the output is gone, since its job was deleted, and nothing else has an object of this key."""
    remains = union_all(
        select(OUTPUTS.c.job_id).where(OUTPUTS.c.job_id == output.job_id, OUTPUTS.c.name == output.name),
        select(OUTPUTS.c.job_id).where(OUTPUTS.c.key == key),
        select(JOBS.c.id).where(JOBS.c.key == key),
    )
    with connection.begin():
        return connection.execute(remains.limit(1)).first() is None


def is_valid(connection: Connection, output: ClaimedOutput) -> bool:
    """Whether the claim of this output is still valid."""
    with connection.begin():
        return connection.execute(select(OUTPUTS.c.name).where(is_held(output))).first() is not None


def remake(connection: Connection, key: str, sha256: bytes) -> int:
    """Let outputs be made again that have this key with other content; returns their number.

    For a renderer that stored this content there after its claim was lost.
    """
    unmade = dict.fromkeys(("finished_at", "key", "sha256", "media_type", "size_bytes"), null())
    again = (
        update(OUTPUTS)
        .where(
            OUTPUTS.c.key == key,
            OUTPUTS.c.sha256 != sha256,
            OUTPUTS.c.state == constant(OutputState.MADE),
        )
        .values(state=OutputState.WAITING, due_at=func.now(), tries=0, fence=OUTPUTS.c.fence + 1, **unmade)
        .returning(OUTPUTS.c.batch_id)
    )
    with connection.begin():
        batches = connection.scalars(again).all()
        for batch_id in {each for each in batches if each is not None}:
            await_outputs(connection, batch_id)
    return len(batches)


def _end(connection: Connection, output: ClaimedOutput, state: OutputState, **values: object) -> bool:
    ended = {"code": None, "message": None, **values}
    with connection.begin():
        done = connection.execute(
            update(OUTPUTS).where(is_held(output)).values(state=state, finished_at=func.now(), **ended)
        )
        return bool(done.rowcount)
