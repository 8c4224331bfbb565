"""Renderers whose claim was lost: they overwrite nothing, and never remove what was bought."""

import uuid
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.administration.delete import Deletion, delete_job, delete_objects, find_deletable
from cutout.enums import ReturnForm
from cutout.queue.outputs import ClaimedOutput
from tests.worker.renderer.conftest import Rendering
from worker.renderer import render_picture
from worker.renderer.children import RenderChild
from worker.renderer.store import copy_before, put


def when_stored(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, name: str, after: bool = True
) -> None:
    """Do something once, right before or after the object of an output of this name is stored."""
    done: list[bool] = []

    def store(objects: object, picture: object, output: ClaimedOutput, *rest: object) -> object:
        is_first = output.name == name and not done
        if is_first:
            done.append(True)
        if is_first and not after:
            act()
        made = put(objects, picture, output, *rest)  # type: ignore[arg-type]
        if is_first and after:
            act()
        return made

    monkeypatch.setattr(render_picture, "put", store)


def forget_source(rendering: Rendering, job_id: uuid.UUID) -> None:
    """Let the source be gone, so that RGBA is delivered as it was bought."""
    bucket = rendering.bench.bucket
    bucket.delete(bucket.key_of(rendering.bench.job(job_id).source) or "")


def delete_row(rendering: Rendering, job_id: uuid.UUID, *, objects: bool = False) -> Deletion:
    """Delete a job as the API does."""
    engine, deletion = rendering.bench.engine, Deletion()
    with Session(engine) as session:
        found = find_deletable(session, job_id, None)
    assert found is not None
    if objects:
        delete_objects(engine, rendering.bench.bucket, found, deletion)
    with Session(engine) as session, session.begin():
        assert delete_job(session, found, deletion)
    return deletion


class TestWhatWasBought:
    def test_stays_if_its_job_is_deleted_while_its_output_is_recorded(
        self, rendering: Rendering, large: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The output is the bought object, which the deletion kept: another job still reuses it."""
        job_id = rendering.buy(large)
        key = rendering.bench.job(job_id).key or ""
        forget_source(rendering, job_id)
        when_stored(monkeypatch, partial(delete_row, rendering, job_id), name="rgba")
        rendering.make_all()
        assert rendering.bench.bucket.has(key)
        again = rendering.buy(large)
        assert rendering.bench.job(again).reused
        assert rendering.bench.job(again).key == key

    def test_stays_if_another_job_reuses_it_while_its_job_is_deleted(
        self, rendering: Rendering, large: bytes
    ) -> None:
        """The output is the bought object: it is removed as the cutout is, or kept as the cutout is."""
        job_id = rendering.buy(large)
        key = rendering.bench.job(job_id).key or ""
        forget_source(rendering, job_id)
        rendering.make_all()
        assert rendering.outputs(job_id)["rgba"].key == key
        other = rendering.bench.enqueue(large)
        with rendering.bench.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE jobs SET state = 'running', queue_state = NULL, worker_id = gen_random_uuid(),"
                    " source_sha256 = (SELECT source_sha256 FROM jobs WHERE id = :bought) WHERE id = :id"
                ),
                {"id": other, "bought": job_id},
            )
        deletion = delete_row(rendering, job_id, objects=True)
        assert rendering.bench.bucket.has(key)
        assert [part.what for part in deletion.kept if part.key == key] == ["cutout"]

    def test_is_removed_with_its_job(self, rendering: Rendering, large: bytes) -> None:
        job_id = rendering.buy(large)
        key = rendering.bench.job(job_id).key or ""
        forget_source(rendering, job_id)
        rendering.make_all()
        deletion = delete_row(rendering, job_id, objects=True)
        assert not rendering.bench.bucket.has(key)
        assert [part.what for part in deletion.removed if part.key == key] == ["cutout"]


class TestAClaimThatIsLost:
    def test_before_the_object_is_stored_stores_nothing(
        self, rendering: Rendering, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A renderer that was frozen beyond its lease: another one has the output by now."""
        job_id = rendering.buy(photo, ReturnForm.MASK)
        make = RenderChild.make

        def make_slowly(child: RenderChild, recipe: str) -> object:
            made = make(child, recipe)
            with rendering.bench.engine.begin() as connection:
                connection.execute(text("UPDATE outputs SET fence = fence + 1"))
            return made

        monkeypatch.setattr(RenderChild, "make", make_slowly)
        assert rendering.renderer.serve_once()
        assert rendering.outputs(job_id)["mask"].state == "waiting"
        assert not list(rendering.bench.bucket.keys("outputs/"))

    def test_while_the_object_is_stored_lets_the_other_one_be_made_again(
        self, rendering: Rendering, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The object of the newer claim was overwritten by other bytes: no row may promise the old ones."""
        job_id = rendering.buy(photo, ReturnForm.MASK)
        batch_id = rendering.bench.job(job_id).batch_id

        def finish_elsewhere() -> None:
            with rendering.bench.engine.begin() as connection:
                connection.execute(
                    text(
                        "UPDATE outputs SET state = 'made', finished_at = now(), fence = fence + 1,"
                        " key = :key, sha256 = decode(repeat('ab', 32), 'hex'), version = 1"
                        " WHERE name = 'mask'"
                    ),
                    {"key": f"outputs/{batch_id}/SKU.mask.png"},
                )

        when_stored(monkeypatch, finish_elsewhere, name="mask", after=False)
        assert rendering.renderer.serve_once()
        assert rendering.outputs(job_id)["mask"].state == "waiting"
        rendering.make_all()
        output = rendering.outputs(job_id)["mask"]
        assert output.state == "made"
        assert rendering.bench.bucket.holds(
            output.key or "", sha256=output.sha256 or b"", size_bytes=output.size_bytes or 0
        )


def test_a_copy_for_a_job_that_is_deleted_meanwhile_is_removed(
    rendering: Rendering, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with a name of its own, copied from another job's output: nothing names it any more."""
    rendering.buy(photo, ReturnForm.RGBA, "web")
    rendering.make_all()
    job_id = rendering.buy(photo, ReturnForm.RGBA, "web", file="{job}.{ext}")
    copy = copy_before

    def copy_slowly(*arguments: object) -> object:
        key = copy(*arguments)  # type: ignore[arg-type]
        delete_row(rendering, job_id)
        return key

    monkeypatch.setattr(render_picture, "copy_before", copy_slowly)
    rendering.renderer.serve_once()
    assert not [key for key in rendering.bench.bucket.keys("outputs/") if str(job_id) in key]


def test_outputs_of_equal_purchases_have_their_own_jobs_object(rendering: Rendering, large: bytes) -> None:
    """Two jobs that each bought the same bytes: the deletion of one must not remove the other's picture."""
    jobs = [rendering.buy(large, external_id=name) for name in ("a", "b")]
    forget_source(rendering, jobs[0])
    bucket, first = rendering.bench.bucket, rendering.bench.job(jobs[0])
    assert first.key
    assert first.sha256
    bucket.copy(
        first.key,
        to="cutouts/b.png",
        sha256=first.sha256,
        size_bytes=first.size_bytes or 0,
        media_type="image/png",
        metadata={},
    )
    rendering.bench.change(jobs[1], "key = 'cutouts/b.png'")
    rendering.make_all()
    keys = [rendering.outputs(job_id)["rgba"].key for job_id in jobs]
    assert keys == [first.key, "cutouts/b.png"]
