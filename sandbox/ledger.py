"""Every charge, exactly."""

import sqlite3
import time
from typing import Any


class Ledger:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def record(self, *, account: str, image_sha256: str, return_form: str | None, request_id: str) -> None:
        self._database.execute(
            "INSERT INTO charges VALUES (?, ?, ?, ?, ?)",
            (time.time(), account, image_sha256, return_form, request_id),
        )

    def charges(self) -> list[dict[str, Any]]:
        """Give every charge in order; `at` is seconds of the Unix epoch."""
        return [dict(row) for row in self._database.execute("SELECT * FROM charges ORDER BY rowid")]

    def total(self) -> int:
        (total,) = self._database.execute("SELECT count(*) FROM charges").fetchone()
        return int(total)

    def totals_by(self, column: str) -> dict[str, int]:
        """Count the charges by `account` or `image_sha256`."""
        if column not in ("account", "image_sha256"):
            raise ValueError(f"no totals by {column!r}; use 'account' or 'image_sha256'")
        rows = self._database.execute(f"SELECT {column}, count(*) FROM charges GROUP BY 1")  # noqa: S608 - one of two names
        return dict(rows.fetchall())

    def clear(self) -> None:
        self._database.execute("DELETE FROM charges")
