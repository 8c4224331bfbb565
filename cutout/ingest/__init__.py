"""From a source of pictures to a batch of durable jobs: streamed, in chunks, and on from where it stopped."""

from cutout.ingest.chunks import Counts
from cutout.ingest.estimate import Estimate, estimate
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.ingest_run import Ingest, Ingested, StrictError
from cutout.ingest.options import Order
from cutout.ingest.progress import Progress
from cutout.ingest.rejects import RejectsFile
from cutout.ingest.sources.open_source import Reading, open_source

__all__ = [
    "Counts",
    "Estimate",
    "Ingest",
    "IngestError",
    "Ingested",
    "Order",
    "Progress",
    "Reading",
    "RejectsFile",
    "StrictError",
    "estimate",
    "open_source",
]
