"""Catalog manifests: parsed from a stream of bytes into the pictures that each record names.

Nothing here opens a file, a connection or a database. `open_manifest` detects the format by content.
"""

from cutout.manifests.column_names import TARGETS, parse_columns
from cutout.manifests.detect import Manifest, open_manifest
from cutout.manifests.records import LONGEST_RECORD, ManifestError, Picture, Record, Reject

__all__ = [
    "LONGEST_RECORD",
    "TARGETS",
    "Manifest",
    "ManifestError",
    "Picture",
    "Record",
    "Reject",
    "open_manifest",
    "parse_columns",
]
