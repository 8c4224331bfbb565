"""What ends an ingest, or keeps one picture out of it."""

from cutout.ingest.sources.readable_names import readable


class IngestError(Exception):
    """The ingest cannot begin or go on; the text says what is wrong and what to do.

    `code` is for programs, where there is one.
    """

    def __init__(self, text: str, *, code: str | None = None) -> None:
        # It may hold the name of a file, and goes to terminals, logs and the database.
        super().__init__(readable(text))
        self.code = code


class NoRoomError(IngestError):
    """This machine has no room for a copy now; it may have later."""


class UnusableError(ValueError):
    """No job can be made of one picture; the text is the reason for its line among the rejects."""
