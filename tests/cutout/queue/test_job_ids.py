from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.models import JOBS
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.queue.job_ids import NoRoomForIdsError, find_ids
from tests.support.steps import SOURCE


class TestTheIdsFound:
    def test_come_in_the_order_enqueued(self, engine: Engine) -> None:
        """All of them, by pages of the size asked for, as often as asked; past memory they lie on disk."""
        with Session(engine) as session, session.begin():
            enqueued = enqueue_all(session, [NewJob(SOURCE)] * 25)
        with find_ids(engine, JOBS.c.source == SOURCE) as ids:
            for _ in range(2):
                pages = list(ids.pages(10))
                assert [len(page) for page in pages] == [10, 10, 5]
                assert [job for page in pages for job in page] == enqueued
        assert ids.total == 25

    def test_are_those_of_that_moment(self, engine: Engine) -> None:
        """A job that comes later is not among them, and no transaction stays open."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)])
        with find_ids(engine, JOBS.c.source == SOURCE) as ids:
            with Session(engine) as session, session.begin():
                enqueue_all(session, [NewJob(SOURCE)])
            (page,) = ids.pages(10)
            assert len(page) == ids.total == 1
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    def test_need_room_on_the_disk(self, engine: Engine, full_disk: Callable[[], Any]) -> None:
        """The error says how much, where and what to do; a moment later there may be room."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)] * 25)
        found = find_ids(engine, JOBS.c.source == SOURCE)
        with full_disk(), pytest.raises(NoRoomForIdsError, match=r"25 jobs or more need .* TMPDIR"), found:
            pass
        with find_ids(engine, JOBS.c.source == SOURCE) as ids:
            assert ids.total == 25
