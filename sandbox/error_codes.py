"""The error codes the endpoint documents, with their HTTP statuses now and before January 2026."""

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Statuses = Literal["current", "before-2026"]


@dataclass(frozen=True)
class ErrorCode:
    """One documented code; `status_before_2026` is None for a code that did not exist then."""

    code: str
    status: int
    status_before_2026: int | None

    def status_in(self, statuses: Statuses) -> int:
        if statuses == "before-2026" and self.status_before_2026 is not None:
            return self.status_before_2026
        return self.status


def _load() -> dict[str, ErrorCode]:
    table = (files("sandbox") / "error_codes.tsv").read_text(encoding="utf-8")
    return {
        row["code"]: ErrorCode(row["code"], int(row["http_status"]), _status(row["http_status_before_2026"]))
        for row in csv.DictReader(table.splitlines(), delimiter="\t")
    }


def _status(cell: str) -> int | None:
    return None if cell == "-" else int(cell)


ERROR_CODES = _load()


class CallRefusedError(Exception):
    """The endpoint answers a call with one of its documented codes.

    `retry_after` is in seconds and becomes the header of that name.
    """

    def __init__(self, code: str, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code = ERROR_CODES[code]
        self.retry_after = retry_after
