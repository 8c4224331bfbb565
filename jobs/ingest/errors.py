"""What ends an ingest, or keeps one picture out of it."""

from jobs.ingest.readable import readable


class IngestError(Exception):
    """The ingest cannot begin or go on; the text says what is wrong and what to do."""

    def __init__(self, text: str) -> None:
        # It may hold the name of a file, and goes to terminals, logs and the database.
        super().__init__(readable(text))


class NoRoomError(IngestError):
    """This machine has no room for a copy now; it may have later."""


class UnusableError(ValueError):
    """No job can be made of one picture; the text is the reason for its line among the rejects."""
