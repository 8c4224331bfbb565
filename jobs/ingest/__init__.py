"""From a source of pictures to a batch of durable jobs: streamed, in chunks, and on from where it stopped."""

from jobs.ingest.chunks import Counts
from jobs.ingest.errors import IngestError
from jobs.ingest.estimate import Estimate, estimate
from jobs.ingest.opening import Reading, open_source
from jobs.ingest.orders import Order
from jobs.ingest.progress import Progress
from jobs.ingest.rejects import RejectsFile
from jobs.ingest.running import Ingest, Ingested, StrictError

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
