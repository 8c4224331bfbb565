"""The error for invalid values of a schedule."""


class InvalidScheduleError(ValueError):
    """A value of a schedule is invalid: `field` is its name, the text says why and what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
