"""The flow tests with API and workers behind PgBouncer in transaction mode."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cutout.models.database import connect
from cutout.storage import Bucket
from tests.flow.test_main_path import TestAWorkerKilled as _TestAWorkerKilled
from tests.flow.test_main_path import TestLostMessages as _TestLostMessages
from tests.flow.test_main_path import TestTheMainPath as _TestTheMainPath
from tests.flow.test_reuse import TestTwins as _TestTwins
from tests.support.pgbouncer import PooledSystem, pgbouncer

pytestmark = pytest.mark.long("each flow test once more, through PgBouncer; tests/flow has them without")


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The test's database through a pooler."""
    with pgbouncer(database_url) as url:
        yield url


@pytest.fixture(autouse=True)
def _through_the_pooler(pooled_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever system a test starts."""
    monkeypatch.setattr(PooledSystem, "pooled_url", pooled_url)
    monkeypatch.setattr("tests.flow.test_main_path.System", PooledSystem)
    monkeypatch.setattr("tests.flow.test_reuse.System", PooledSystem)


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[PooledSystem]:
    """API, dispatcher and one worker, running; the first and the last through the pooler."""
    assert bucket
    with PooledSystem(environment, tmp_path) as running:
        yield running
        said = running.log("worker") + running.log("api")
        assert "PreparedStatement" not in said
        assert "unexpected error" not in said
        assert "unexpected error" not in said


class TestTheMainPath(_TestTheMainPath):
    """Enqueued, called, copied, read."""


class TestLostMessages(_TestLostMessages):
    """Handed out again."""


class TestAWorkerKilled(_TestAWorkerKilled):
    """Another takes over."""


class TestTwins(_TestTwins):
    """One call for all."""


class TestAConnection:
    def test_keeps_its_settings_to_itself(self, pooled_url: str) -> None:
        """Those of a transaction do not stay with the session, which others get next."""
        settings = {"statement_timeout": "7s", "lock_timeout": "6s"}
        bounded, bare = connect(pooled_url, server_settings=settings), connect(pooled_url)
        asked = ", ".join(f"current_setting('{name}')" for name in (*settings, "TimeZone"))
        ask = text(f"SELECT {asked}")
        try:
            for _ in range(10):
                with bounded.connect() as one, bare.connect() as other:
                    assert one.execute(ask).one() == ("7s", "6s", "UTC")
                    assert other.execute(ask).one() == ("0", "2s", "UTC")
        finally:
            bounded.dispose()
            bare.dispose()

    def test_says_which_limit_is_missing(self, pooled_url: str, caplog: pytest.LogCaptureFixture) -> None:
        """Statements that commit by themselves have none but the pooler's own."""
        limits = {"lock_timeout": "2s", "statement_timeout": "3s"}
        engine = connect(pooled_url, autocommit=True, server_settings=limits)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        engine.dispose()
        (record,) = caplog.records
        assert (
            "sets no statement_timeout: add SET statement_timeout = '3s' to its connect_query"
            in record.message
        )
