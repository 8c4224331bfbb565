"""Killed at any moment, the same command goes on."""

import os
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.cli.command import Cutout

# The long form: CUTOUT_TEST_KILLS=100 .venv/bin/pytest tests/cli/test_ingest_killed.py --timeout 900
KILLS_VARIABLE = "CUTOUT_TEST_KILLS"
KILLS = int(os.environ.get(KILLS_VARIABLE, "8"))
ROWS, EVERY = 40_000, 400
CHUNK = 10_000
CHUNKS = ROWS // CHUNK
SESSIONS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cutout-cli'
"""

WHOLE = """
    SELECT i.finished_at, i.records, i.jobs, i.rejects, i.duplicates, count(*) AS stored,
        count(DISTINCT external_id) AS ids, count(source_sha256) AS uploaded,
        count(DISTINCT virtual_start) AS places
    FROM ingests i JOIN jobs j USING (batch_id) GROUP BY i.batch_id
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """40,000 rows, some by file, the others by address; 4 bad ones more, and 4 that are there twice."""
    (tmp_path / "photos").mkdir()
    lines = ["external_id,source"]
    for n in range(ROWS):
        address = f"https://shop.example/{n}.jpg"
        if n % EVERY == 0:
            (tmp_path / "photos" / f"{n}.png").write_bytes(f"picture {n}".encode())
            lines.append(f"{n},photos/{n}.png")
        else:
            lines.append(f"{n},{address}")
        if n % 10_000 == 77:
            lines += [f"bad-{n},ftp{address[5:]}", f"{n},{address}"]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.long("kills at random points; tests/cutout/ingest/ continues what was interrupted")
@pytest.mark.usefixtures("bucket")
class TestAnIngestThatIsKilled:
    @pytest.mark.timeout(90 + 12 * KILLS)
    def test_at_random_moments_makes_every_row_one_job(
        self, cutout: Cutout, engine: Engine, manifest: Path, tmp_path: Path
    ) -> None:
        """Kill -9, again and again: every row is one job of its batch, and the counts add up.

        A run that comes to its end before it is killed is whole as well; the next one is another batch.
        """
        moments, went_on = random.Random(5), 0  # noqa: S311 - moments, not secrets
        whole_s = self._run(cutout, engine, manifest)[0]
        manifest.touch()
        for _ in range(KILLS):
            moment = moments.randrange(ROWS), moments.uniform(0, whole_s / CHUNKS)
            _, said = self._run(cutout, engine, manifest, kill_at=moment)
            went_on += "continues" in said
        ran = cutout.ended(cutout.start("ingest", manifest.name))
        assert ran.code == 1
        assert went_on + ran.stderr.count("continues") >= KILLS // 4
        with engine.connect() as connection:
            batches = connection.execute(text(WHOLE)).all()
        for batch in batches:
            assert batch.finished_at is not None
            assert (batch.stored, batch.ids, batch.places) == (ROWS, ROWS, ROWS)
            assert (batch.records, batch.jobs, batch.rejects, batch.duplicates) == (ROWS + 8, ROWS, 4, 4)
            assert batch.uploaded == ROWS // EVERY
        lines = (tmp_path / "rejects.csv").read_text().splitlines()[1:]
        assert [line.split(",")[2] for line in lines] == [
            f"ftp://shop.example/{n}.jpg" for n in range(77, ROWS, 10_000)
        ]

    def _run(
        self, cutout: Cutout, engine: Engine, manifest: Path, *, kill_at: tuple[int, float] | None = None
    ) -> tuple[float, str]:
        """Seconds from its first word with Postgres to its end, and what it said on stderr.

        It is killed once so many rows are stored, and so many seconds later: a moment that a machine which is
        slower now than it was before does not shift past the end.
        """
        before = self._sessions(engine)
        process = cutout.start("ingest", manifest.name)
        while process.poll() is None and self._sessions(engine) <= before:
            time.sleep(0.01)
        began_at = time.monotonic()
        if kill_at is not None:
            rows, later_s = kill_at
            while process.poll() is None and self._stored(engine) < rows // CHUNK * CHUNK:
                time.sleep(0.01)
            time.sleep(later_s)
            process.kill()
        _, said = process.communicate()
        return time.monotonic() - began_at, said

    def _stored(self, engine: Engine) -> int:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT max(records) FROM ingests WHERE finished_at IS NULL")) or 0

    def _sessions(self, engine: Engine) -> set[int]:
        with engine.connect() as connection:
            return set(connection.scalars(text(SESSIONS)))
