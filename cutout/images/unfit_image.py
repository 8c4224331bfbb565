"""Error for a picture that cannot be fitted to the endpoint's limits."""


class UnfitImage(Exception):  # noqa: N818 - the name says what happened
    """The picture cannot be sent. `code` is for programs; the message has the value and the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
