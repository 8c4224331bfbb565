"""What the manifest that went in learns of each record: our columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.manifest import Record
from jobs.results_manifest.links import CutoutLinks
from jobs.results_manifest.rows import ResultRow
from jobs.states import State

STATE, KEY, URL, SHA256, WIDTH, HEIGHT, ERROR, REQUEST_ID, REUSED = (
    f"cutout_{name}"
    for name in ("state", "key", "url", "sha256", "width", "height", "error", "request_id", "reused")
)
ALL_ADDED = (STATE, KEY, URL, SHA256, WIDTH, HEIGHT, ERROR, REQUEST_ID, REUSED)
REJECTED = "rejected"
WITH_A_CUTOUT = State.SUCCEEDED.value
# A record of several pictures counts as the first of these that one of them is.
WORST_FIRST = (State.FAILED, State.HELD, State.QUEUED, State.RUNNING, State.CANCELLED, REJECTED)

# A picture of the record in one form; None if no job was made of it.
Found = Sequence[ResultRow | None]


@dataclass(frozen=True, slots=True)
class Added:
    """Our columns, with links if asked."""

    links: CutoutLinks | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ALL_ADDED if self.links or name != URL)

    def cells(self, record: Record, found: Found) -> list[str]:
        """The record's values in the order of `names`; those of several pictures are joined by blanks."""
        values = {name: _joined(cells) for name, cells in self._values(found).items()}
        values[ERROR] = _errors(record, found)
        if not found:
            values[STATE] = REJECTED
        return [values[name] for name in self.names]

    def _values(self, found: Found) -> dict[str, list[str]]:
        rows = [row._asdict() if row else {} for row in found]
        values = {
            name: [_text(row.get(name.removeprefix("cutout_"))) for row in rows]
            for name in (KEY, SHA256, WIDTH, HEIGHT, REQUEST_ID, REUSED)
        }
        values[STATE] = [row.state if row else REJECTED for row in found]
        if self.links:
            values[URL] = [self.links.to(row.key) if row and row.key else "" for row in found]
        return values


def standing(found: Found) -> str:
    """What the record counts as."""
    states = {row.state if row else REJECTED for row in found}
    if not states:
        return REJECTED
    return next((word for word in WORST_FIRST if word in states), WITH_A_CUTOUT)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _joined(values: list[str]) -> str:
    # An empty one keeps its place, so that the second key is that of the second picture.
    return " ".join(values) if any(values) else ""


def _errors(record: Record, found: Found) -> str:
    errors = [f"{row.error_code}: {row.error_message}" for row in found if row and row.error_code]
    errors += [f"{reject.column} {reject.reason}".strip() for reject in record.rejects]
    if None in found:
        errors.append("no job was made of it")
    return " ".join(errors)
