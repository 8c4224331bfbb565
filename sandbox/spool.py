"""The directory that holds pictures and records, so that memory stays small however long it runs."""

import sqlite3
import tempfile
from pathlib import Path

_SCHEMA = """
CREATE TABLE charges (
    at REAL NOT NULL, account TEXT NOT NULL, image_sha256 TEXT NOT NULL,
    return_form TEXT, request_id TEXT NOT NULL);
CREATE INDEX charges_image ON charges (image_sha256);
CREATE TABLE calls (
    arrived_at REAL NOT NULL, image_sha256 TEXT NOT NULL, request_id TEXT, fault TEXT, http_status INTEGER,
    answered_at REAL);
CREATE TABLE results (
    name TEXT PRIMARY KEY, image_sha256 TEXT NOT NULL, return_form TEXT,
    dies_at REAL NOT NULL, fault TEXT, downloads INTEGER NOT NULL DEFAULT 0);
CREATE INDEX results_death ON results (dies_at);
CREATE INDEX results_image ON results (image_sha256);
"""


class Spool:
    """A temporary directory and the database in it; both are gone after `close`."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="cutout-sandbox-")
        self.path = Path(self._directory.name)
        self.database = sqlite3.connect(self.path / "sandbox.sqlite", isolation_level=None)
        self.database.row_factory = sqlite3.Row
        # Nothing here outlives the process, so nothing needs to reach the disk in order.
        self.database.execute("PRAGMA journal_mode = OFF")
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.executescript(_SCHEMA)

    def close(self) -> None:
        self.database.close()
        self._directory.cleanup()
