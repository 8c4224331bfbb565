"""The soak in about a minute."""

from pathlib import Path

import pytest

from tests.soak.options import Options
from tests.soak.plan import Deed, Kind
from tests.soak.soak import run_soak


@pytest.mark.long("the soak in about a minute")
@pytest.mark.timeout(900)
def test_every_promise_is_kept_while_anything_is_killed(tmp_path: Path) -> None:
    """200 jobs, a strike of each kind and an act of each: nothing lost, no charge or wait unexplained."""
    report = run_soak(Options(minutes=0.9, jobs=200, kills=len(Kind), seed=1), tmp_path)
    assert report.broken() == [], f"{report.table()}\nlogs and data are in {tmp_path}"
    assert {strike.kind for strike in report.struck} == set(Kind)
    assert set(report.deeds) == {deed.value for deed in Deed}
    assert report.findings.succeeded > 180
