"""Everything on this machine, with the sandbox in the bench's hands."""

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bench.stack import stack_of
from cli.stack import Stack, StackOptions
from cutout.models.database import connect
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source

# Small, so that what is measured is the limit and not this machine's two cores.
SIDE = 96
CHUNK = 10_000


@dataclass
class Rig:
    """A running stack, its sandbox's control routes, its database and one picture in its bucket."""

    stack: Stack
    sandbox: httpx.Client
    engine: Engine
    source: str

    @property
    def port(self) -> int:
        """The sandbox's port."""
        port = self.sandbox.base_url.port
        if port is None:
            raise ValueError(f"the sandbox at {self.sandbox.base_url} has no port of its own")
        return port

    def enqueue(self, count: int) -> str:
        """A batch of so many jobs for the picture; returns its id."""
        with Session(self.engine) as session, session.begin():
            batch_id = create_batch(session, "bench").id
            for start in range(0, count, CHUNK):
                names = range(start, min(start + CHUNK, count))
                jobs = [NewJob(self.source, str(n)) for n in names]
                enqueue_all(session, jobs, batch_id=batch_id)
        return str(batch_id)

    def set(self, **settings: object) -> None:
        """Change how the sandbox behaves."""
        self.sandbox.post("/settings", json=settings).raise_for_status()

    def statistics(self, seconds: float) -> dict[str, Any]:
        """Statistics of the sandbox over the last seconds."""
        answer: dict[str, Any] = self.sandbox.get("/stats", params={"seconds": seconds}).json()
        return answer

    def clear(self) -> None:
        """Let the sandbox count anew."""
        self.sandbox.delete("/stats").raise_for_status()

    def wait_for_arrivals(self, count: int, *, within_s: float = 60.0) -> None:
        """Wait until so many calls have come since the last clear."""
        deadline = time.monotonic() + within_s
        while self.statistics(1)["arrived"] < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"fewer than {count} calls within {within_s} s")
            time.sleep(0.05)

    def scalar(self, query: str, **values: object) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar_one()


@contextmanager
def rig(*, workers: int = 4, latency_s: float = 2.1, **settings: object) -> Iterator[Rig]:
    """Start it with these settings; everything is gone afterwards."""
    # Every job is to call, though they are all of one picture.
    settings = {"reuse": False} | settings
    defaults = {f"CUTOUT_{name.upper()}": str(value) for name, value in settings.items()}
    with tempfile.TemporaryDirectory() as directory:
        options = StackOptions(
            Path(directory), workers=workers, renderers=0, sandbox_latency_s=latency_s, defaults=defaults
        )
        with stack_of(options) as stack:
            known = stack.settings
            engine = connect(known.database_url.get_secret_value(), connections=2)
            bucket = Bucket(known)
            _spare(stack, "sandbox")
            source = upload_source(bucket, io.BytesIO(_picture()))
            bucket.close()
            with httpx.Client(base_url=f"{known.endpoint_url}/sandbox", timeout=30) as sandbox:
                yield Rig(stack, sandbox, engine, source)
            engine.dispose()


def _spare(stack: Stack, name: str) -> None:
    """The endpoint is another machine's: what it sees must not wait for our processors. Needs to be root."""
    with suppress(psutil.AccessDenied):
        psutil.Process(stack.children[name].pid).nice(-15)


def _picture() -> bytes:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    image.paste("red", (SIDE // 4, SIDE // 4, 3 * SIDE // 4, 3 * SIDE // 4))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()
