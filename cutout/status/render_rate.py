"""Speed of the renderers that are alive, from which the time for waiting outputs is estimated."""

from dataclasses import dataclass

from sqlalchemy import select

from cutout.models.database import Database
from cutout.queue.outputs.backlog import RATE, seconds_each
from cutout.status.poll_pause import poll_pause


@dataclass(frozen=True, slots=True)
class RenderRate:
    """The pictures that renderers make at a time, and the seconds that one output took them lately."""

    processes: int
    output_seconds: float

    def seconds_for(self, outputs: int) -> float | None:
        """The least time for so many outputs; None while no renderer runs."""
        return outputs * self.output_seconds / self.processes if self.processes else None

    def pause_for(self, outputs: int = 1) -> int:
        """Seconds (1 to 60) before the next poll for waiting outputs; 60 if no renderer runs."""
        return poll_pause(self.seconds_for(outputs))


def read_render_rate(database: Database) -> RenderRate:
    """The speed now. Unlike the backlog it does not count the outputs that wait."""
    found = database.execute(select(RATE)).one()
    return RenderRate(found.processes, seconds_each(found.made, found.busy))
