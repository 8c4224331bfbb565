"""The errors of a schedule that cannot be stored."""

import uuid


class InvalidScheduleError(ValueError):
    """A value of a schedule is invalid: `field` is its name, the text says why and what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class ScheduleExistsError(InvalidScheduleError):
    """The name is that of another schedule of the producer; `schedule_id` is None if it was just removed."""

    def __init__(self, name: str, schedule_id: uuid.UUID | None) -> None:
        super().__init__(
            "name", f"a schedule {name!r} already exists; remove it first or choose another name"
        )
        self.schedule_id = schedule_id
