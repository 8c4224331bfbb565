"""The comparison of the endpoint's own forms with those derived of its RGBA."""

import io
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.table import Table
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cli.console import Exit, err, fail, out
from cli.database import find_batch, open_database, plain_errors
from cli.numbers import counted
from cli.wait import wait_for_batch
from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.endpoint.client import call_url
from cutout.endpoint.result import MAX_RESULT_BYTES
from cutout.enums import Forms, ReturnForm, State
from cutout.images.image import prepare
from cutout.images.unfit_image import UnfitImage
from cutout.models import CALIBRATIONS, JOBS
from cutout.outputs.calibration import BoughtForms, Calibration
from cutout.outputs.calibration import calibrate as compare
from cutout.outputs.enlarge.softness import SOFT, judged
from cutout.outputs.options import OutputOptions
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.settings import Settings, read_settings
from cutout.storage import Bucket, StorageError
from cutout.storage.uploads import upload_source

PICTURES = 8
PHOTOS = Path(__file__).parent.parent / "photos"
UNITS = f"""\
mask, whiteBK, crop: difference of a pixel from the form made here, of 255 levels
crop from alpha: lowest alpha, of 255, that lies in the endpoint's crop
edge colours: mean difference from the picture that was sent, of 255 levels
softness: 0 is an edge as sharp as the picture's; above {SOFT:g} it is soft"""
COLOURS = {
    None: "are not known: no edge is soft",
    True: "are cleaned of the old background",
    False: "are those of the picture that was sent",
}


def calibrate(
    pictures: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Directory of pictures.", show_default="the sample photos"
        ),
    ] = PHOTOS,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Spend the credits without asking.")] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="BATCH", help="Compare the batch of an earlier run on the same pictures; buy nothing."
        ),
    ] = None,
) -> None:
    """Compare the endpoint's own forms with those derived of its RGBA.

    It buys 8 pictures in 4 forms, for 32 credits, through the queue as all calls. It shows how the endpoint's
    mask, white background and crop differ from those made here, how soft its alpha is, and whether its
    colours are free of the old background. Renderers use what is found.
    """
    settings, sources = read_settings(), _sources(pictures)
    if batch is None:
        _confirm(len(sources) * len(ReturnForm), settings, yes=yes)
    engine = open_database()
    with plain_errors():
        bucket = Bucket(settings, connections=2)
        try:
            batch_id = _buy(engine, bucket, sources) if batch is None else _bought(engine, batch)
            out.print(f"batch {batch_id}")
            found = _compare(engine, bucket, batch_id, sources)
        except (StorageError, UnfitImage) as error:
            fail(str(error), Exit.FAILED)
        _keep(engine, settings, found)
    _show(found)


def _confirm(credits_: int, settings: Settings, *, yes: bool) -> None:
    """Ask before credits are spent; ends the command if they are not to be."""
    out.print(
        f"this spends up to {counted(credits_, 'credit')}, about ${credits_ * DOLLARS_A_CREDIT:.2f}, at"
        f" {settings.endpoint_url}"
    )
    if not yes and not typer.confirm("spend them?"):
        raise typer.Exit(Exit.USAGE)


def _bought(engine: Engine, batch: str) -> uuid.UUID:
    """The batch of an earlier run."""
    with Session(engine) as session:
        batch_id: uuid.UUID = find_batch(session, batch).id
    return batch_id


def _sources(directory: Path) -> dict[str, bytes]:
    """The first pictures of the directory that the endpoint takes, by name."""
    found: dict[str, bytes] = {}
    for path in sorted(directory.iterdir()):
        if len(found) == PICTURES or not path.is_file():
            continue
        data = path.read_bytes()
        try:
            prepare(data)
        except UnfitImage as error:
            if error.code != "IMAGE_NOT_A_PICTURE":
                err.print(f"skipped {path.name}: {error.message}", markup=False)
            continue
        found[path.name] = data
    if len(found) < PICTURES:
        fail(f"{directory} has {counted(len(found), 'picture')} that the endpoint takes; give {PICTURES}")
    return found


def _compare(engine: Engine, bucket: Bucket, batch_id: uuid.UUID, sources: dict[str, bytes]) -> Calibration:
    """Compare the batch's cutouts once all are bought; ends the command if some are not."""
    wait_for_batch(engine, batch_id, outputs=False)
    with engine.connect() as connection:
        jobs = connection.execute(
            select(JOBS.c.external_id, JOBS.c.return_form, JOBS.c.state, JOBS.c.key, JOBS.c.message).where(
                JOBS.c.batch_id == batch_id
            )
        ).all()
    failed = [job for job in jobs if job.state != State.SUCCEEDED]
    if failed:
        fail(
            f"{len(failed)} of {len(jobs)} calls gave no picture ({failed[0].message}); see"
            f" `cutout status {batch_id}`, then `cutout retry {batch_id}` and"
            f" `cutout calibrate --batch {batch_id}`",
            Exit.FAILED,
        )
    keys = {(job.external_id, job.return_form): job.key for job in jobs}
    missing = [name for name in sources for form in ReturnForm if (name, form) not in keys]
    if missing:
        fail(
            f"the batch {batch_id} has not {missing[0]} in all forms; give the directory that it was made of"
        )
    return compare(
        (_forms(bucket, keys, name, data) for name, data in sources.items()),
        _softness,
    )


def _softness(sent: Image.Image, alpha: Image.Image) -> float:
    return judged(np.asarray(sent), np.asarray(alpha)).softness


def _forms(bucket: Bucket, keys: Mapping[tuple[str, str], str], name: str, source: bytes) -> BoughtForms:
    def read(form: ReturnForm) -> bytes:
        return bucket.read(keys[name, form], max_bytes=MAX_RESULT_BYTES)

    return BoughtForms(
        name,
        prepare(source).data,
        rgba=read(ReturnForm.RGBA),
        mask=read(ReturnForm.MASK),
        white=read(ReturnForm.WHITE_BACKGROUND),
        crop=read(ReturnForm.CROP),
    )


def _buy(engine: Engine, bucket: Bucket, sources: dict[str, bytes]) -> uuid.UUID:
    """Enqueue each picture in each form, bought anew."""
    options = OutputOptions(Forms.BOUGHT, full_size=False)
    addresses = {name: upload_source(bucket, io.BytesIO(data)) for name, data in sources.items()}
    jobs = [
        NewJob(address, name, form, outputs=options)
        for name, address in addresses.items()
        for form in ReturnForm
    ]
    with Session(engine) as session, session.begin():
        batch = create_batch(session, f"calibration {datetime.now(UTC):%Y-%m-%d}", reuse=False)
        enqueue_all(session, jobs, batch_id=batch.id)
        batch_id: uuid.UUID = batch.id
    return batch_id


def _keep(engine: Engine, settings: Settings, found: Calibration) -> None:
    row = insert(CALIBRATIONS).values(
        endpoint=call_url(settings.endpoint_url), found=json.loads(found.to_json())
    )
    with engine.begin() as connection:
        connection.execute(
            row.on_conflict_do_update(
                index_elements=["endpoint"], set_={"found": row.excluded.found, "made_at": func.now()}
            )
        )


def _show(found: Calibration) -> None:
    headings, *rows = found.rows()
    table = Table(*(heading.replace(" ", "\n") for heading in headings), box=None, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    out.print(table)
    out.print(UNITS)
    out.print(f"the colours of its edges {COLOURS[found.is_decontaminated]}")
    if found.softness is not None:
        judged_as = (
            "soft: renderers judge each picture" if found.softness > SOFT else "sharp: none is sharpened"
        )
        out.print(f"the softness of its alpha is {found.softness:.3f}, which is {judged_as}")
