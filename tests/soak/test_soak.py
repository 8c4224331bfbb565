"""The soak in about a minute."""

from pathlib import Path

import pytest

from tests.soak.options import Options
from tests.soak.soak import run_soak


@pytest.mark.long("the soak in about a minute")
@pytest.mark.timeout(300)
def test_every_promise_is_kept_while_anything_is_killed(tmp_path: Path) -> None:
    """200 jobs and 10 kills of everything that can die: nothing lost, no charge unexplained."""
    report = run_soak(Options(minutes=0.65, jobs=200, kills=10, seed=1), tmp_path)
    assert report.broken() == [], f"{report.table()}\nlogs and data are in {tmp_path}"
    assert len(report.struck) == 10
    assert report.findings.succeeded > 180
