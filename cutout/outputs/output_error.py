"""Error for an output that cannot be made."""


class OutputError(Exception):
    """The output cannot be made. `code` is for programs; the message has the value and the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
