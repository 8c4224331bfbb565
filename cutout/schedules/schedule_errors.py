"""The error for values that are no schedule."""


class InvalidScheduleError(ValueError):
    """A schedule cannot be kept as it stands: `field` is at fault, the text says why and what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
