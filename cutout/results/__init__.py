"""Results of a batch: as a file of its own, or as the input manifest with added columns."""

from cutout.results.added_columns import REJECTED
from cutout.results.formats import Format, write_results
from cutout.results.links import CutoutLinks
from cutout.results.pictures_zip import PicturesZip, measure_pictures
from cutout.results.publish import ended_batches, keep_results
from cutout.results.results_file import ResultsFile
from cutout.results.round_trip import KeptManifest, NoManifestError, find_manifest, write_as_input
from cutout.results.rows import Results, Selection, open_results
from cutout.results.tally import WrittenRows

__all__ = [
    "REJECTED",
    "CutoutLinks",
    "Format",
    "KeptManifest",
    "NoManifestError",
    "PicturesZip",
    "Results",
    "ResultsFile",
    "Selection",
    "WrittenRows",
    "ended_batches",
    "find_manifest",
    "keep_results",
    "measure_pictures",
    "open_results",
    "write_as_input",
    "write_results",
]
