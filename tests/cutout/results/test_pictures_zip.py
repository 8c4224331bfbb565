"""Pictures of a batch as a zip: names, what is gone, parts, size, and memory that does not grow."""

import io
import tracemalloc
import uuid
import zipfile

import pytest
from sqlalchemy import Engine, text

from cutout.enums import OutputState, ReturnForm
from cutout.queue.attempts.outcomes import Fail, StoredObject, Succeeded
from cutout.results import PicturesZip, measure_pictures, pictures_zip
from cutout.results.pictures_zip import PicturesSize, parts_of
from cutout.settings import Settings
from cutout.storage import Bucket, StorageError
from local import LocalServices
from tests.support.fates import Fates, make_batch
from tests.support.outputs import put_output, without_outputs
from tests.support.proxy import Proxy

PNG = "image/png"


def stored(bucket: Bucket, key: str, data: bytes) -> Succeeded:
    """A job's end with a cutout that is in the bucket."""
    sha256 = bucket.put_cutout(data, key=key, media_type=PNG, metadata={})
    return Succeeded(StoredObject(key, sha256, PNG, len(data), 10, 20))


def put(engine: Engine, bucket: Bucket, job: str, name: str, key: str, *, data: bytes = b"made") -> None:
    """An output of a job that is made and stored."""
    sha256 = bucket.put_cutout(data, key=key, media_type="image/jpeg", metadata={})
    made = {"key": key, "sha256": sha256, "media_type": "image/jpeg", "size_bytes": len(data)}
    put_output(engine, job, name, OutputState.MADE, **made)


def read(engine: Engine, bucket: Bucket, wanted: PicturesZip) -> dict[str, bytes]:
    """The files of the zip by name."""
    with zipfile.ZipFile(io.BytesIO(b"".join(wanted.pieces(engine, bucket)))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(set(archive.namelist()))
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_has_what_each_job_delivers(engine: Engine, bucket: Bucket) -> None:
    """Named by SKU and form, renditions in folders and under their own names; nothing of other jobs."""
    make_batch(engine, {"stranger": stored(bucket, "cutouts/stranger.png", b"no")})
    batch_id = make_batch(
        engine,
        {
            "a": stored(bucket, "cutouts/a.png", b"a"),
            ("a", ReturnForm.MASK): stored(bucket, "cutouts/a.mask.png", b"m"),
            "A": stored(bucket, "cutouts/other.png", b"A"),
            "../x y": stored(bucket, "cutouts/x.png", b"x"),
            "full": stored(bucket, "cutouts/bought.png", b"bought"),
            "waits": stored(bucket, "cutouts/waits.png", b"waits"),
            "failed": Fail("BROKEN", "m"),
            "queued": None,
        },
    )
    without_outputs(engine)
    put(engine, bucket, "full", "rgba", "outputs/full.jpg", data=b"full size")
    put_output(engine, "waits", "rgba")
    put(engine, bucket, "A", "amazon", "outputs/A.amazon.jpg")
    put_output(engine, "full", "score", OutputState.MADE, measures={"score": 0.1, "reasons": []}, version=1)
    with engine.connect() as connection:
        job_id = connection.execute(text("SELECT id FROM jobs WHERE external_id = 'full'")).scalar_one()
    put(engine, bucket, "full", "amazon", f"outputs/{batch_id}/{job_id}/amazon/web/B00X.MAIN.jpg")
    found = read(engine, bucket, PicturesZip(batch_id))
    (unsafe,) = (name for name in found if name.startswith("_x_y-"))
    (cased,) = (name for name in found if name.startswith("A-"))
    assert found == {
        "a.png": b"a",
        "a.mask.png": b"m",
        cased: b"A",
        "amazon/A.jpg": b"made",
        unsafe: b"x",
        "full.jpg": b"full size",
        "amazon/web/B00X.MAIN.jpg": b"made",
    }
    with engine.connect() as connection:
        size = measure_pictures(connection, batch_id, 6)
    assert size == PicturesSize(len(found), sum(map(len, found.values())), is_exact=True)


def test_what_is_gone_is_listed(engine: Engine, bucket: Bucket) -> None:
    """The other pictures are there, and a file says which are not."""
    fates: Fates = {name: stored(bucket, f"cutouts/{name}.png", name.encode()) for name in "abc"}
    batch_id = make_batch(engine, fates)
    without_outputs(engine)
    bucket.delete("cutouts/b.png")
    found = read(engine, bucket, PicturesZip(batch_id))
    assert found == {
        "a.png": b"a",
        "c.png": b"c",
        "missing.txt": b"b.png: not in the bucket any more\n",
    }


def test_one_object_that_is_refused_is_listed(
    engine: Engine,
    bucket: Bucket,
    services: LocalServices,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key of its own that is gone, or a policy: the others are there. Keys that nothing accepts end it."""
    fates: Fates = {name: stored(bucket, f"cutouts/{name}.png", name.encode()) for name in "abc"}
    batch_id = make_batch(engine, fates)
    without_outputs(engine)
    assert services.seaweed is not None
    with Proxy(services.seaweed.port("s3")) as proxy:
        behind = Bucket(settings.model_copy(update={"s3_endpoint_url": proxy.url}))
        proxy.answer(f"GET /{bucket.name}/cutouts/b", 403, "AccessDenied")
        found = read(engine, behind, PicturesZip(batch_id))
        assert sorted(found) == ["a.png", "c.png", "missing.txt"]
        assert found["missing.txt"] == b"b.png: the bucket does not let the server read it\n"
        monkeypatch.setattr(pictures_zip, "MOST_FORBIDDEN", 3)
        proxy.answer(f"GET /{bucket.name}/cutouts/", 403, "AccessDenied")
        with pytest.raises(StorageError, match="AccessDenied"):
            read(engine, behind, PicturesZip(batch_id))
        proxy.answer(f"GET /{bucket.name}/cutouts/", 403, "InvalidAccessKeyId")
        with pytest.raises(StorageError, match="CUTOUT_S3_ACCESS_KEY"):
            read(engine, behind, PicturesZip(batch_id))


def test_a_part_has_its_jobs(engine: Engine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are counted as they were enqueued; the parts have each picture once, and one too many has none."""
    monkeypatch.setattr(pictures_zip, "JOBS_A_ZIP", 2)
    monkeypatch.setattr(pictures_zip, "JOBS_A_PAGE", 1)
    fates: Fates = {name: stored(bucket, f"cutouts/{name}.png", name.encode()) for name in "abde"}
    batch_id = make_batch(engine, {**fates, "f": None})
    without_outputs(engine)
    assert parts_of(5) == 3
    found = [sorted(read(engine, bucket, PicturesZip(batch_id, part))) for part in (1, 2, 3, 4)]
    assert found == [["a.png", "b.png"], ["d.png", "e.png"], [], []]


def test_without_the_bucket_it_breaks_off(engine: Engine, bucket: Bucket) -> None:
    """It never ends as if it were whole."""
    batch_id = make_batch(engine, {"a": stored(bucket, "cutouts/a.png", b"a")})
    without_outputs(engine)
    with pytest.raises(StorageError):
        list(PicturesZip(batch_id).pieces(engine, bucket.sibling("no-such-bucket")))


def test_the_size_of_many_is_by_a_sample(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first jobs stand for all."""
    monkeypatch.setattr(pictures_zip, "SAMPLE", 2)
    size = StoredObject("cutouts/a.png", b"\xab" * 32, PNG, 1000, 10, 20)
    batch_id = make_batch(engine, {name: Succeeded(size) for name in "abcdefgh"})
    without_outputs(engine)
    with engine.connect() as connection:
        assert measure_pictures(connection, batch_id, 8) == PicturesSize(8, 8000, is_exact=False)
        assert measure_pictures(connection, uuid.uuid4(), 0) == PicturesSize(0, 0, is_exact=True)


def test_memory_does_not_grow_with_the_pictures(engine: Engine, bucket: Bucket) -> None:
    """Forty pictures of 5 MB pass, and one or two are in memory."""
    picture = stored(bucket, "cutouts/large.png", bytes(5_000_000))
    batch_id = make_batch(engine, {f"sku-{number}": picture for number in range(40)})
    without_outputs(engine)
    tracemalloc.start()
    size = sum(len(piece) for piece in PicturesZip(batch_id).pieces(engine, bucket))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 200_000_000
    assert peak < 40_000_000
