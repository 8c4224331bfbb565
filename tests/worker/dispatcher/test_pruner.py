"""Pruning by the leader: a portion a tick, the rest in the next ones."""

import pytest
from sqlalchemy import Engine, text

from cutout.queue import snapshot
from cutout.settings import Settings
from cutout.status import action_log
from worker.dispatcher import pruner as module
from worker.dispatcher.pruner import Pruner

# Made on 1970-01-01, all on one day.
OLD = """
    INSERT INTO actions (id, kind, finished_at)
    SELECT CAST('00000000-0000-7000-8000-00000000000' || n AS uuid), 'pause_all', now()
    FROM generate_series(1, 5) n
"""
NEW = "INSERT INTO actions (kind, finished_at) VALUES ('resume_all', now())"


def test_old_records_of_actions_go_in_portions(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tick by tick, until a portion is not full; what is young stays."""
    monkeypatch.setattr(action_log, "MOST_PRUNED", 2)
    monkeypatch.setattr(module, "MOST_ACTIONS", 2)
    with engine.begin() as connection:
        connection.execute(text(OLD))
        connection.execute(text(NEW))
    pruner, left = Pruner(settings), list[int]()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(4):
            pruner.tick(connection, snapshot.read_snapshot(connection, []))
            left.append(connection.execute(text("SELECT count(*) FROM actions")).scalar_one())
        kinds = connection.scalars(text("SELECT kind FROM actions")).all()
    assert (left, kinds) == ([4, 2, 1, 1], ["resume_all"])
