"""The error for a picture that cannot be made to fit the endpoint's limits."""


class UnfitImage(Exception):  # noqa: N818 - the name says what happened
    """`code` is stable, for programs; the message names the value and the remedy, for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
