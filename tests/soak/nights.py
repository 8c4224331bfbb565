"""Two schedules: the window of one closes half way through, and the other's opens then."""

import hashlib
import io
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from cutout.storage import StorageError
from tests.soak.desk import Desk
from tests.soak.pictures import picture
from tests.soak.system import System

NAMES = ("night-1", "night-2")
FIRST_PICTURE = 2_000_000
PICTURES = 8
# Of a run of the second: less than its pictures.
BUDGET = 6
EVERY_MINUTE = "* * * * *"
PAUSE_S = 0.5
# The next night, at once.
OPEN = text(
    "UPDATE batches SET opens_at = now() - interval '1 minute', closes_at = now() + interval '1 day'"
    " WHERE opens_at > now() OR closes_at <= now()"
)
OUTSIDE = text(
    "SELECT schedules.name, attempts.id, attempts.begun_at FROM attempts JOIN jobs ON jobs.id = job_id"
    " JOIN runs ON runs.batch_id = jobs.batch_id JOIN schedules ON schedules.id = schedule_id"
    " WHERE schedules.name = :name AND begun_at < :finished_at"
    " AND NOT (begun_at >= :opens AND begun_at < :closes)"
)


class Nights:
    """Windows are of whole minutes: the first one is open now, the second begins where it ends."""

    def __init__(self, system: System, desk: Desk) -> None:
        self._system = system
        self._desk = desk
        self._next_picture = FIRST_PICTURE
        self.pictures: dict[str, int] = dict.fromkeys(NAMES, 0)
        self.windows: dict[str, tuple[datetime, datetime]] = {}
        self.finished_at: datetime | None = None

    def begin(self) -> None:
        """Add both, and fire the first run of each."""
        opens = datetime.now(UTC).replace(second=0, microsecond=0)
        half = timedelta(minutes=max(round(self._system.options.seconds / 120), 1))
        self.windows = {
            NAMES[0]: (opens, opens + half),
            NAMES[1]: (opens + half, opens + half + timedelta(hours=12)),
        }
        for name in NAMES:
            self._add_pictures(name, PICTURES)
            window = "-".join(f"{moment:%H:%M}" for moment in self.windows[name])
            order = ["--source", f"s3://{self._system.bucket.name}/{name}/", "--cron", EVERY_MINUTE]
            budget = ["--budget", str(BUDGET)] if name == NAMES[1] else []
            self._desk.command("schedule", "add", name, *order, "--window", window, *budget)
            self._desk.command("schedule", "run", name)

    def run_by_hand(self, which: float) -> str:
        """One more picture, and a run for it."""
        name = self._one(which)
        self._add_pictures(name, 1)
        self._desk.command("schedule", "run", name)
        return name

    def pause(self, which: float, seconds: float) -> str:
        """For so long."""
        name = self._one(which)
        self._desk.command("schedule", "pause", name)
        time.sleep(seconds)
        self._desk.command("schedule", "resume", name)
        return name

    def end(self) -> None:
        """No further run, whose batch would come after everything is settled."""
        for name in NAMES:
            self._desk.command("schedule", "pause", name)
        self.finished_at = self._system.ask(
            lambda connection: connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        )

    def open(self) -> None:
        """Let the next night be now, for whatever waits for it."""

        def move(connection: Connection) -> None:
            connection.execute(OPEN)
            connection.commit()

        self._system.ask(move)

    def calls_outside(self) -> list[str]:
        """Calls that began outside their window."""
        lines = []
        for name, (opens, closes) in self.windows.items():
            its = {"name": name, "opens": opens, "closes": closes, "finished_at": self.finished_at}
            with self._system.engine.connect() as connection:
                rows = connection.execute(OUTSIDE, its).all()
            lines += [f"attempt {row.id} of {row.name} began at {row.begun_at}, outside it" for row in rows]
        return lines

    def _one(self, which: float) -> str:
        return NAMES[int(which * len(NAMES))]

    def _add_pictures(self, name: str, count: int) -> None:
        for _ in range(count):
            body = picture(self._next_picture)
            self._put(f"{name}/{self._next_picture}.jpg", body)
            self._next_picture += 1
            self.pictures[name] += 1

    def _put(self, key: str, body: bytes) -> None:
        while True:
            try:
                sha256 = hashlib.sha256(body).digest()
                self._system.bucket.put_source(io.BytesIO(body), key=key, sha256=sha256)
            except StorageError:
                time.sleep(PAUSE_S)
            else:
                return
