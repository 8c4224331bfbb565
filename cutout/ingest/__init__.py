"""Ingest of a source into a batch of durable jobs: read as a stream, stored in chunks, resumed after an
interruption.
"""

from cutout.ingest.estimate import Estimate, estimate
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.ingest_run import Ingest, Ingested, StrictError
from cutout.ingest.options import IngestOptions
from cutout.ingest.progress import Counts, Progress
from cutout.ingest.rejects import RejectsFile
from cutout.ingest.sources.open_source import open_source
from cutout.ingest.sources.read_options import ReadOptions

__all__ = [
    "Counts",
    "Estimate",
    "Ingest",
    "IngestError",
    "IngestOptions",
    "Ingested",
    "Progress",
    "ReadOptions",
    "RejectsFile",
    "StrictError",
    "estimate",
    "open_source",
]
