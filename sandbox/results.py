"""Result URLs and the pictures behind them, until they die."""

import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox.faults import Kind
from sandbox.spool import Spool
from sandbox.upload import ReturnForm, Upload

SWEEP_SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """What a living URL leads to; `downloads` counts those before this one."""

    image_sha256: str
    return_form: ReturnForm | None
    fault: Kind | None
    downloads: int


class Results:
    def __init__(self, spool: Spool) -> None:
        self._database: sqlite3.Connection = spool.database
        self._directory = spool.path
        self._swept_at = time.monotonic()

    def publish(self, upload: Upload, image_sha256: str, fault: Kind | None, *, lifetime: float) -> str:
        """Keep a picture for `lifetime` seconds and give the unguessable name of its result."""
        self._sweep_now_and_then()
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
        return self._directory / f"{image_sha256}.source"

    def _sweep_now_and_then(self) -> None:
        if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self.sweep()

    def sweep(self) -> None:
        """Forget the dead results, and delete the pictures that no living one leads to."""
        dead = self._database.execute(
            "DELETE FROM results WHERE dies_at <= ? RETURNING image_sha256", (time.time(),)
        ).fetchall()
        for (image_sha256,) in set(map(tuple, dead)):
            living = self._database.execute(
                "SELECT 1 FROM results WHERE image_sha256 = ? LIMIT 1", (image_sha256,)
            ).fetchone()
            if living is None:
                for picture in self._directory.glob(f"{image_sha256}.*"):
                    picture.unlink(missing_ok=True)
