import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

import cutout_client
from cutout_client import Client, NewJob
from tests.cutout_client.conftest import SOURCE


def test_jobs_come_over_all_pages(cutout: Client) -> None:
    """In both orders; those left are not asked for before they are needed."""
    made = [cutout.jobs.enqueue(source_url=SOURCE, external_id=f"{n}").id for n in range(5)]
    assert [job.id for job in cutout.jobs.list(page_size=2)] == made[::-1]
    assert [job.id for job in cutout.jobs.list(page_size=2, order="oldest")] == made
    assert [job.id for job in itertools.islice(cutout.jobs.list(page_size=1), 2)] == made[:-3:-1]


def test_jobs_are_filtered(cutout: Client) -> None:
    """By each filter; a list of states means any of them."""
    batch = cutout.batches.create("spring", [NewJob("a", SOURCE), NewJob("b", SOURCE)])
    alone = cutout.jobs.enqueue(source_url=SOURCE, external_id="a")
    now = datetime.now(UTC)

    def found(**filters: object) -> list[str | None]:
        return [job.external_id for job in cutout.jobs.list(order="oldest", **filters)]  # type: ignore[arg-type]

    assert found(batch=batch.id) == ["a", "b"]
    assert found(external_id="a") == ["a", "a"]
    assert found(state="queued") == found(state=["queued", "held"]) == ["a", "b", "a"]
    assert found(state="failed") == found(code=["X", "Y"]) == found(output_state="made") == []
    assert found(created_after=now - timedelta(hours=1), created_before=now + timedelta(hours=1)) == [
        "a",
        "b",
        "a",
    ]
    assert found(created_after=now + timedelta(hours=1)) == []
    assert found(min_score=0.5) == []
    assert alone.id in {job.id for job in cutout.jobs.list(external_id="a")}
    with pytest.raises(ValueError, match="has no zone"):
        found(created_after=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(cutout_client.InvalidError) as raised:
        found(state="done")
    assert raised.value.field is not None


def test_batches_come_over_all_pages(cutout: Client) -> None:
    """Without their counts, the newest first."""
    made = [cutout.batches.create(f"batch {n}").id for n in range(3)]
    assert [batch.id for batch in cutout.batches.list(page_size=2)] == made[::-1]
    assert [batch.name for batch in cutout.batches.list(order="oldest", page_size=1)] == [
        "batch 0",
        "batch 1",
        "batch 2",
    ]
    assert [batch.id for batch in cutout.batches.list(name="batch 1")] == [made[1]]


def test_a_job_is_changed_explained_and_deleted(cutout: Client, engine: Engine) -> None:
    """Cancelled once, retried as long as that may be, and gone then."""
    assert engine
    job = cutout.jobs.enqueue(source_url=SOURCE)
    explanation = cutout.jobs.explanation(job.id)
    assert (explanation.state, bool(explanation.text)) == ("queued", True)
    assert cutout.jobs.cancel(job.id).state == "cancelled"
    for act in (cutout.jobs.retry, cutout.jobs.release):
        with pytest.raises(cutout_client.ConflictError, match="wrong-state"):
            act(job.id)
    with pytest.raises(cutout_client.ConflictError, match="nothing-unexpected"):
        cutout.jobs.accept(job.id)
    assert cutout.jobs.retry_outputs(job.id).state == "cancelled"
    deletion = cutout.jobs.delete(job.id, objects=True)
    assert (deletion.id, "job" in {part.what for part in deletion.removed}) == (job.id, True)
    with pytest.raises(cutout_client.MissingError):
        cutout.jobs.delete(job.id)
