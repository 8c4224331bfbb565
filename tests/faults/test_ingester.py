"""An ingester that is killed: another goes on from its last chunk."""

import random
import time
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cutout.ingest import IngestOptions, ReadOptions
from cutout.ingest.pending import request_ingest
from cutout.storage import Bucket
from tests.support.system import System

ROWS, KILLS = 100_000, 4
WHOLE = """
    SELECT i.finished_at IS NOT NULL AS finished, i.error, i.records, i.jobs, i.rejects, i.duplicates,
        count(*) AS stored, count(DISTINCT external_id) AS ids
    FROM ingests i JOIN jobs j USING (batch_id) GROUP BY i.batch_id
"""


@pytest.mark.long("kills at random points; tests/cutout/ingest/ continues what was interrupted")
class TestAnIngesterThatIsKilled:
    def test_at_random_moments_makes_every_row_one_job(
        self, environment: dict[str, str], bucket: Bucket, tmp_path: Path
    ) -> None:
        """Two run, one is killed again and again: every row is one job, and the counts add up."""
        rows = "".join(f"{n},https://shop.example/{n}.jpg\n" for n in range(ROWS))
        bucket.put_pieces([f"external_id,source\n{rows}bad,x\n".encode()], key="m", media_type="text/csv")
        # Without its context nothing is started.
        system = System(environment, tmp_path, api=False)
        with Session(system.engine) as session, session.begin():
            order = IngestOptions("n", reading=ReadOptions(foreign=True))
            request_ingest(session, "an upload", order, manifest_key="m")
        moments = random.Random(11)  # noqa: S311 - moments, not secrets
        try:
            for kill in range(KILLS):
                system.start("ingester", "ingester")
                system.until(f"SELECT records > {kill * 10_000} FROM ingests")  # noqa: S608 - a number
                time.sleep(moments.uniform(0.0, 0.2))
                system.kill("ingester")
            for name in ("ingester", "another"):
                system.start(name, "ingester")
            system.until("SELECT finished_at IS NOT NULL FROM ingests", within_s=60)
            whole = system.row(WHOLE)
        finally:
            system.__exit__(None, None, None)
        assert whole["finished"]
        assert whole["error"] is None
        assert (whole["records"], whole["jobs"], whole["rejects"], whole["duplicates"]) == (
            ROWS + 1,
            ROWS,
            1,
            0,
        )
        assert whole["stored"] == whole["ids"] == ROWS
        assert "resumes where it stopped" in system.log("ingester") + system.log("another")
