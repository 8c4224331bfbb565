"""Errors that end an ingest or reject one picture."""

from cutout.manifests.field_rules import readable


class IngestError(Exception):
    """The ingest cannot start or continue; the text says what is wrong and what to do.

    `code` is a code for programs, or None.
    """

    def __init__(self, text: str, *, code: str | None = None) -> None:
        # The text may hold a file name, and goes to terminals, logs and the database.
        super().__init__(readable(text))
        self.code = code


class NoRoomError(IngestError):
    """This machine has no disk space for a copy now; it may have some later."""


class UnusableError(ValueError):
    """One picture cannot become a job; the text is the reason in the rejects."""
