"""Changes of what somebody else may have changed meanwhile."""

from itertools import islice

import pytest
from sqlalchemy import Engine

import cutout_client
from cutout_client import Client, NewJob
from tests.cutout_client.conftest import SOURCE, Gateway

CRON = "15 1 * * *"
EXPORT = "https://shop.example/export.csv"


def test_a_batch_is_changed_as_it_was_seen(cutout: Client) -> None:
    """With its ETag; a stale one is refused, and what was left out stays."""
    batch = cutout.batches.create("spring", [NewJob("a", SOURCE)], budget=5, metadata={"season": "spring"})
    batch = cutout.batches.get(batch.id)
    assert batch.etag is not None
    changed = cutout.batches.patch(batch.id, if_match=batch.etag, name="summer", metadata={"year": "2027"})
    assert (changed.name, changed.budget, changed.metadata) == (
        "summer",
        5,
        {"season": "spring", "year": "2027"},
    )
    with pytest.raises(cutout_client.ChangedMeanwhileError) as raised:
        cutout.batches.patch(batch.id, if_match=batch.etag, budget=None)
    assert (raised.value.kind, raised.value.status) == ("changed-meanwhile", 412)
    with pytest.raises(cutout_client.ChangedMeanwhileError):
        cutout.batches.cancel(batch.id, if_match=batch.etag)
    assert cutout.batches.patch(batch.id, if_match=changed.etag, budget=None).budget is None


def test_a_job_is_changed_as_it_was_seen(cutout: Client) -> None:
    """A cancellation of what has changed meanwhile is refused."""
    job = cutout.jobs.get(cutout.jobs.enqueue(source_url=SOURCE).id)
    cutout.jobs.cancel(job.id)
    with pytest.raises(cutout_client.ChangedMeanwhileError):
        cutout.jobs.delete(job.id, if_match=job.etag)


def test_what_was_asked_for_comes_back(cutout: Client, photo: bytes) -> None:
    """By address, in a form, of a list, and of a manifest."""
    job = cutout.jobs.enqueue(source_url=SOURCE, metadata={"order": "A-1"}, priority="bulk")
    assert (job.source_url, job.metadata, job.priority) == (SOURCE, {"order": "A-1"}, "bulk")
    assert cutout.jobs.enqueue(image=photo, metadata={"order": "ü"}).metadata == {"order": "ü"}
    rows = b"external_id,source\na,https://shop.example/a.jpg\n"
    batch = cutout.batches.create_from_file(
        "m", rows, media_type="text/csv", metadata={"order": "B"}, weight=2.5, strict=True
    )
    assert (batch.metadata, batch.weight, batch.strict) == ({"order": "B"}, 2.5, True)
    (found,) = cutout.batches.list(state="active")
    assert (found.id, found.metadata) == (batch.id, {"order": "B"})


def test_a_second_job_of_an_id_names_the_first(cutout: Client, gateway: list[Gateway]) -> None:
    """And one that is sent again because its answer was lost is the first."""
    gateway[0].loses = 1
    first = cutout.jobs.enqueue(source_url=SOURCE, external_id="SKU", unique="producer")
    with pytest.raises(cutout_client.JobExistsError) as raised:
        cutout.jobs.enqueue(source_url=SOURCE, external_id="SKU", unique="producer")
    assert (raised.value.job_id, raised.value.status) == (first.id, 409)
    assert raised.value.request_id


def test_a_schedule_is_made_changed_and_removed(
    cutout: Client, engine: Engine, gateway: list[Gateway]
) -> None:
    """Each once though its answer is lost."""
    assert engine
    gateway[0].loses = 1
    made = cutout.schedules.create("nightly", EXPORT, CRON, zone="Europe/Paris", metadata={"a": "b"})
    assert [each.id for each in cutout.schedules.list()] == [made.id]
    with pytest.raises(cutout_client.ScheduleExistsError) as raised:
        cutout.schedules.create("nightly", EXPORT, CRON)
    assert raised.value.schedule_id == made.id
    schedule = cutout.schedules.get(made.id)
    assert (schedule.cron, schedule.zone, schedule.metadata) == (CRON, "Europe/Paris", {"a": "b"})
    changed = cutout.schedules.patch(schedule.id, if_match=schedule.etag, cron="30 2 * * *")
    assert changed.cron == "30 2 * * *"
    with pytest.raises(cutout_client.ChangedMeanwhileError):
        cutout.schedules.pause(schedule.id, if_match=schedule.etag)
    assert cutout.schedules.pause(schedule.id).next_fire_at is None
    resumed = cutout.schedules.resume(schedule.id)
    assert resumed.next_fire_at is not None
    assert cutout.schedules.skip(schedule.id).skips_at == resumed.next_fire_at
    assert [run.skipped for run in islice(cutout.schedules.next(schedule.id), 2)] == [True, False]
    assert cutout.schedules.restore(schedule.id).skips_at is None
    coming = cutout.schedules.next(schedule.id, page_size=2)
    times = [next(coming).fire_at for _ in range(5)]
    coming.close()
    assert times == sorted(set(times))
    run = cutout.schedules.run(schedule.id)
    assert [each.id for each in cutout.schedules.runs(schedule.id)] == [run.id]
    with pytest.raises(cutout_client.NotDoneError):
        cutout.schedules.wait(schedule.id, run.id, timeout_s=0)
    with pytest.raises(cutout_client.ConflictError, match="no-report"):
        cutout.schedules.download_report(schedule.id, run.id, "nowhere.json")
    gateway[0].loses = 1
    cutout.schedules.delete(schedule.id)
    with pytest.raises(cutout_client.MissingError):
        cutout.schedules.delete(schedule.id)
