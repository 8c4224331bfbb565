"""What ends an ingest, or keeps one picture out of it."""


class IngestError(Exception):
    """The ingest cannot begin or go on; the text says what is wrong and what to do."""


class UnusableError(ValueError):
    """No job can be made of one picture; the text is the reason for its line among the rejects."""
