"""Counts of the rows and outputs that a results file has."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cutout.enums import OutputState
from cutout.results.rows import ResultRow


@dataclass(slots=True)
class WrittenRows:
    """Rows by state, and the outputs of their jobs by state.

    With an image column, `links` counts the cells that have a link now, and `kept` those of rows with a
    picture that have none yet.
    """

    rows: Counter[str] = field(default_factory=Counter)
    outputs: Counter[str] = field(default_factory=Counter)
    links: int = 0
    kept: int = 0

    def add(self, state: str, jobs: Iterable[ResultRow | None]) -> None:
        """Count a row in this state, with the outputs of its jobs."""
        self.rows[state] += 1
        for job in jobs:
            if job is not None:
                self.outputs.update(output.state for output in job.outputs)

    @property
    def waiting_outputs(self) -> int:
        return self.outputs[OutputState.WAITING]

    @property
    def failed_outputs(self) -> int:
        return self.outputs[OutputState.FAILED]
