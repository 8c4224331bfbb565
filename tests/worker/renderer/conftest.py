import io
import uuid
from collections.abc import Callable

import pytest
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.models import Job, Output
from cutout.outputs.options import OutputOptions
from cutout.outputs.recipes import parse_outputs
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.settings import Settings
from tests.support.bench import Bench
from tests.support.pictures import encoded
from worker.renderer.loop import Renderer


class Rendering:
    """A renderer without its loop: pictures are made on the test's own thread."""

    def __init__(self, settings: Settings, bench: Bench) -> None:
        self.bench = bench
        self.renderer = Renderer(settings, bench.engine, bench.bucket, processes=1)

    def buy(
        self,
        source: bytes | str,
        form: ReturnForm = ReturnForm.RGBA,
        *outputs: str,
        producer_id: uuid.UUID | None = None,
        external_id: str = "SKU",
        file: str | None = None,
        full_size: bool = True,
        reuse: bool = True,
        details: dict[str, str] | None = None,
    ) -> uuid.UUID:
        """A job that has succeeded, with these renditions asked for."""
        address = source if isinstance(source, str) else self.bench.upload(source, producer_id)
        named = {
            name: {"recipe": recipe.text} | ({"file": file} if file else {})
            for name, recipe in parse_outputs(outputs).items()
        }
        options = OutputOptions(full_size=full_size, renditions=named)
        with Session(self.bench.engine) as session, session.begin():
            batch = create_batch(session, "b", producer_id=producer_id, reuse=reuse)
            job = NewJob(address, external_id, form, outputs=options)
            job_id = enqueue(session, job, batch_id=batch.id, producer_id=producer_id)
            session.flush()
            session.get_one(Job, job_id).details = details
        self.bench.work()
        assert self.bench.job(job_id).state == "succeeded", self.bench.job(job_id).message
        return job_id

    def make_all(self) -> int:
        """Make what is due; returns the number of pictures."""
        made = 0
        while self.renderer.serve_once():
            made += 1
        return made

    def outputs(self, job_id: uuid.UUID) -> dict[str, Output]:
        """The job's outputs by name."""
        with Session(self.bench.engine) as session:
            found = session.scalars(select(Output).where(Output.job_id == job_id))
            return {output.name: output for output in found}

    def picture(self, output: Output) -> Image.Image:
        """The file of an output, decoded."""
        assert output.key is not None, (output.state, output.code, output.message)
        return Image.open(io.BytesIO(self.bench.bucket.read(output.key, max_bytes=100_000_000)))


@pytest.fixture
def rendering(settings: Settings, reusing: Bench) -> Rendering:
    """A renderer, and a worker that buys and reuses."""
    return Rendering(settings, reusing)


@pytest.fixture
def large(photo: bytes) -> bytes:
    """A photo beyond the endpoint's size: 2600 pixels wide."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    size = (2600, round(2600 * image.height / image.width))
    return encoded(image.resize(size), "JPEG", quality=90)


MakeRendering = Callable[..., Rendering]


@pytest.fixture
def make_rendering(settings: Settings, make_bench: Callable[..., Bench]) -> MakeRendering:
    """A renderer with settings changed."""

    def make(**changed: object) -> Rendering:
        return Rendering(settings.model_copy(update=changed), make_bench(**changed))

    return make
