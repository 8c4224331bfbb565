"""Renditions asked for of a batch that exists: no call is made for them, and no credit is spent."""

import uuid
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import ARRAY, Engine, Uuid, any_, bindparam, column, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from cutout.enums import ReturnForm, State
from cutout.models import BATCHES, JOBS, OUTPUTS, constant
from cutout.models.database import Database
from cutout.outputs.options import OutputOptions
from cutout.queue.job_ids import find_ids

Count = Callable[[Database, int], None]

JOBS_A_CHUNK = 2000
MOST_RENDITIONS = 40
# A manifest's first rows have its columns.
JOBS_WITH_COLUMNS = 10_000

IS_MADE_OF_RGBA = (
    JOBS.c.state == constant(State.SUCCEEDED),
    JOBS.c.bought_form == constant(ReturnForm.RGBA),
    JOBS.c.deleted_at.is_(None),
    JOBS.c.sha256.is_not(None),
)
_WANTED = (
    func.jsonb_each(BATCHES.c.renditions)
    .table_valued(column("key"), column("value", JSONB), name="wanted")
    .render_derived()
)
ADD = (
    insert(OUTPUTS)
    .from_select(
        [
            *("job_id", "name", "producer_id", "batch_id", "priority"),
            *("recipe", "file", "bought_sha256", "source_sha256"),
        ],
        select(
            JOBS.c.id,
            _WANTED.c.key,
            JOBS.c.producer_id,
            JOBS.c.batch_id,
            JOBS.c.priority,
            _WANTED.c.value["recipe"].astext,
            _WANTED.c.value["file"].astext,
            JOBS.c.sha256,
            JOBS.c.source_sha256,
        )
        .join_from(JOBS, BATCHES, BATCHES.c.id == JOBS.c.batch_id)
        .join(_WANTED, literal(True))
        .where(JOBS.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))), *IS_MADE_OF_RGBA)
        # A job that is being deleted gets none, or has them when its deletion empties it.
        .with_for_update(read=True, of=JOBS),
    )
    .on_conflict_do_nothing()
    .returning(OUTPUTS.c.job_id)
)


class OtherRecipeError(ValueError):
    """The batch has an output of this name by another recipe, or with other file names."""


def add_renditions(
    database: Database, batch_id: uuid.UUID, renditions: Mapping[str, Mapping[str, str]]
) -> bool:
    """Let jobs of the batch that succeed from now on get these renditions, in the caller's transaction.

    False if they get them already.
    `add_missing` gives them to those that have succeeded. Raises OtherRecipeError, and RecipeError for file
    names by a column that the batch's first jobs do not have.
    """
    wanted = {name: dict(each) for name, each in renditions.items()}
    _check_columns(database, batch_id, wanted)
    present = database.execute(
        select(BATCHES.c.renditions).where(BATCHES.c.id == batch_id).with_for_update()
    ).scalar_one()
    for name, each in (present or {}).items():
        if wanted.get(name, each) != each:
            raise OtherRecipeError(_other(name, each, wanted[name]))
    _check_names(database, batch_id, {name: wanted[name] for name in wanted.keys() - (present or {})})
    everything = (present or {}) | wanted
    _check_files(everything)
    if len(everything) > MOST_RENDITIONS:
        raise OtherRecipeError(f"the batch would have more than {MOST_RENDITIONS} outputs; ask for fewer")
    if everything == present:
        return False
    database.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(renditions=everything))
    return True


def _check_names(database: Database, batch_id: uuid.UUID, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Raise OtherRecipeError if an output of the batch, such as its return form, has one of the names."""
    for name, each in wanted.items():
        other = select(OUTPUTS.c.recipe).where(
            OUTPUTS.c.batch_id == batch_id, OUTPUTS.c.name == name, OUTPUTS.c.recipe != each["recipe"]
        )
        recipe = database.scalar(other.limit(1))
        if recipe is not None:
            raise OtherRecipeError(_other(name, {"recipe": recipe}, each))


def _check_columns(database: Database, batch_id: uuid.UUID, wanted: Mapping[str, Mapping[str, str]]) -> None:
    details = database.scalars(
        select(JOBS.c.details).where(JOBS.c.batch_id == batch_id).order_by(JOBS.c.id).limit(JOBS_WITH_COLUMNS)
    ).all()
    if details:
        columns = {name for each in details if each for name in each}
        OutputOptions(renditions=wanted).check_columns(columns)


def _other(name: str, present: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """The difference between the present output of this name and the wanted one, and the remedy."""
    remedy = f"ask for this one by another name, such as '{name.lower()}-2: {wanted['recipe'].split(' ')[0]}'"
    if present["recipe"] != wanted["recipe"]:
        return f"the batch has an output {name} by another recipe ({present['recipe']}); {remedy}"
    named = f"by the template {present['file']}" if "file" in present else "by default"
    return f"the batch has an output {name} by this recipe, whose files are named {named}; {remedy}"


def _check_files(renditions: Mapping[str, Mapping[str, str]]) -> None:
    """Raise OtherRecipeError if two renditions have one template of file names without their own name."""
    seen: dict[str, str] = {}
    for name, each in renditions.items():
        file = each.get("file")
        if file is None or "{rendition}" in file:
            continue
        if file in seen:
            raise OtherRecipeError(
                f"the outputs {seen[file]} and {name} of the batch would have one file name ({file}); add"
                " {rendition}"
            )
        seen[file] = name


def no_count(_database: Database, _changed: int) -> None:
    """Count nothing."""


def add_missing(engine: Engine, batch_id: uuid.UUID, count: Count = no_count) -> int:
    """Add the batch's renditions of jobs that succeeded before they were asked for; returns their number.

    `count` is told the number of each chunk, in its transaction.

    A job that succeeded at the very moment is found when this is called again at the batch's end.
    """
    added = 0
    with find_ids(engine, JOBS.c.batch_id == batch_id, *IS_MADE_OF_RGBA) as ids:
        for page in ids.pages(JOBS_A_CHUNK):
            with engine.begin() as connection:
                chunk = add_chunk(connection, batch_id, page)
                count(connection, chunk)
            added += chunk
    return added


def add_chunk(database: Database, batch_id: uuid.UUID, job_ids: Sequence[uuid.UUID]) -> int:
    """Add the batch's renditions of these jobs of it, in the caller's transaction; returns their number."""
    added = len(database.execute(ADD, {"ids": list(job_ids)}).all())
    if added:
        await_outputs(database, batch_id)
    return added


def await_outputs(database: Database, batch_id: uuid.UUID) -> None:
    """Have the batch's results written again, once no output waits; in the transaction that adds outputs.

    A renderer may have made them by the time that another transaction begins.
    """
    database.execute(
        update(BATCHES)
        .where(BATCHES.c.id == batch_id, BATCHES.c.outputs_pending.is_(False))
        .values(outputs_pending=True)
    )
