"""What became of a batch's pictures, as a file of its own or as the manifest that went in, columns added."""

from jobs.results_manifest.added import REJECTED
from jobs.results_manifest.as_input import Kept, NoManifestError, find_manifest, write_as_input
from jobs.results_manifest.ended import ended_batches, keep_results
from jobs.results_manifest.formats import Format, write_results
from jobs.results_manifest.links import CutoutLinks
from jobs.results_manifest.rows import Results, Selection, open_results

__all__ = [
    "REJECTED",
    "CutoutLinks",
    "Format",
    "Kept",
    "NoManifestError",
    "Results",
    "Selection",
    "ended_batches",
    "find_manifest",
    "keep_results",
    "open_results",
    "write_as_input",
    "write_results",
]
