import uuid

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from cutout.models import Batch, Job
from cutout.producers.producers import create_producer
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.status import search as searching
from cutout.status.search import search
from tests.support.steps import SOURCE


def a_batch(session: Session, name: str, *external_ids: str, of: uuid.UUID | None = None) -> Batch:
    """A batch of such jobs."""
    batch = create_batch(session, name, producer_id=of)
    jobs = [NewJob(SOURCE, external_id) for external_id in external_ids]
    enqueue_all(session, jobs, batch_id=batch.id, producer_id=of)
    return batch


def names_of(session: Session, term: str, of: uuid.UUID | None = None) -> list[str]:
    """The batches' names that are found."""
    return [batch.name for batch in search(session, term, of).batches]


class TestASearch:
    def test_finds_an_external_id_in_every_batch(self, session: Session) -> None:
        """The newest batch is first; an id that only begins so is another."""
        for name in ("old", "new"):
            a_batch(session, name, "SKU-1", "SKU-12")
        found = search(session, " SKU-1 ")
        assert [(job.external_id, job.batch_name) for job in found.jobs] == [
            ("SKU-1", "new"),
            ("SKU-1", "old"),
        ]
        assert (found.batches_examined, found.complete) == (2, True)

    def test_finds_a_batch_by_a_part_of_its_name(self, session: Session) -> None:
        """In any case; wildcards of SQL are characters like others."""
        a_batch(session, "Spring 50%_off")
        assert names_of(session, "spring") == ["Spring 50%_off"]
        assert names_of(session, "%_OFF") == ["Spring 50%_off"]
        assert names_of(session, "s%g") == []

    def test_finds_what_an_id_begins_with(self, session: Session) -> None:
        """With dashes or without, of a batch and of a job; three digits are too few."""
        batch = a_batch(session, "spring", "SKU-1")
        job_id = session.query(Job.id).filter(Job.batch_id == batch.id).scalar()
        assert batch.id in [found.id for found in search(session, str(batch.id)[:20]).batches]
        assert [found.id for found in search(session, job_id.hex).jobs] == [job_id]
        assert search(session, job_id.hex[:3]).jobs == []

    def test_of_a_producer_finds_its_own_alone(self, session: Session) -> None:
        """Another's are not found by id, external id or name."""
        mine, other = (create_producer(session, name)[0].id for name in ("mine", "other"))
        theirs = a_batch(session, "spring", "SKU-1", of=other)
        job_id = session.query(Job.id).filter(Job.batch_id == theirs.id).scalar()
        for term in ("spring", "SKU-1", str(theirs.id), str(job_id)):
            found = search(session, term, mine)
            assert (found.batches, found.jobs, found.batches_examined) == ([], [], 0)
            assert search(session, term, other).batches or search(session, term, other).jobs

    def test_says_that_older_batches_were_not_examined(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It looks into the newest, as many as it takes some milliseconds for."""
        monkeypatch.setattr(searching, "MOST_BATCHES", 2)
        for name in ("old", "newer", "newest"):
            a_batch(session, name, "SKU-1")
        found = search(session, "SKU-1")
        assert [job.batch_name for job in found.jobs] == ["newest", "newer"]
        assert (found.batches_examined, found.complete) == (2, False)

    def test_leaves_out_what_is_deleted(self, session: Session) -> None:
        """A deleted batch is a row without a name that the ledger refers to."""
        batch = a_batch(session, "spring")
        session.execute(update(Batch).values(deleted_at=batch.created_at))
        assert search(session, str(batch.id)).batches == []

    @pytest.mark.parametrize("term", ["", "  ", "\0", "x" * 10_000, "'; DROP TABLE jobs; --", "ffff-"])
    def test_takes_any_text(self, session: Session, term: str) -> None:
        """It finds nothing then."""
        found = search(session, term)
        assert (found.batches, found.jobs) == ([], [])
