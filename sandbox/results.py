"""Result URLs and the pictures behind them, until they die."""

import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sandbox.faults import Kind
from sandbox.spool import Spool
from sandbox.upload import ReturnForm, Upload

# With each new result so many dead ones go: more than come, and few enough that no call waits for it.
SWEPT_AT_ONCE = 4
SOURCE = ".source"
CUTOUTS = {None: ".rgba", **{form: f".{form}" for form in get_args(ReturnForm)}}


@dataclass(frozen=True)
class Result:
    """Result behind a living URL; `downloads` counts those before this one."""

    image_sha256: str
    return_form: ReturnForm | None
    fault: Kind | None
    downloads: int


class Results:
    def __init__(self, spool: Spool) -> None:
        self._database: sqlite3.Connection = spool.database
        self._directory = spool.path

    def publish(self, upload: Upload, image_sha256: str, fault: Kind | None, *, lifetime: float) -> str:
        """Keep a picture for `lifetime` seconds and give the unguessable name of its result."""
        self.sweep()
        source = self.source(image_sha256)
        if not source.exists():
            source.write_bytes(upload.image)
        name = f"{secrets.token_hex(16)}.{'jpg' if upload.return_form == 'whiteBK' else 'png'}"
        dies_at = time.time() + (0 if fault == "result_gone" else lifetime)
        self._database.execute(
            "INSERT INTO results VALUES (?, ?, ?, ?, ?, 0)",
            (name, image_sha256, upload.return_form, dies_at, fault),
        )
        return name

    def take(self, name: str) -> Result | None:
        """Count a download and give what the name leads to; None if it is dead or never was."""
        row = self._database.execute(
            "SELECT image_sha256, return_form, fault, downloads FROM results WHERE name = ? AND dies_at > ?",
            (name, time.time()),
        ).fetchone()
        if row is None:
            return None
        self._database.execute("UPDATE results SET downloads = downloads + 1 WHERE name = ?", (name,))
        return Result(**row)

    def source(self, image_sha256: str) -> Path:
        return self._directory / f"{image_sha256}{SOURCE}"

    def cutout(self, image_sha256: str, return_form: ReturnForm | None) -> Path:
        """Where the finished cutout is kept once it is made."""
        return self._directory / f"{image_sha256}{CUTOUTS[return_form]}"

    def sweep(self, most: int = SWEPT_AT_ONCE) -> None:
        """Forget at most so many dead results, and delete the pictures that no living one leads to."""
        dead = self._database.execute(
            "DELETE FROM results WHERE name IN"
            " (SELECT name FROM results WHERE dies_at <= ? ORDER BY dies_at LIMIT ?) RETURNING image_sha256",
            (time.time(), most),
        ).fetchall()
        for (image_sha256,) in set(map(tuple, dead)):
            left = self._database.execute(
                "SELECT 1 FROM results WHERE image_sha256 = ? LIMIT 1", (image_sha256,)
            ).fetchone()
            if left is None:
                # By their names: the directory holds thousands.
                for suffix in (SOURCE, *CUTOUTS.values()):
                    (self._directory / f"{image_sha256}{suffix}").unlink(missing_ok=True)
