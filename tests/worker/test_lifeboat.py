import os
import stat
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout import queue
from cutout.queue.enqueue import NewJob, enqueue
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.steps import SOURCE
from worker.lifeboat import (
    BucketLifeboat,
    DirectoryLifeboat,
    Lifeboat,
    LifeboatError,
    open_lifeboat,
    sweep,
)
from worker.lifeboat.directory import LEFT_BEHIND_S
from worker.lifeboat.lifeboat_errors import LifeboatFullError

DATA = b"cutout" * 1000
MAX = 10_000
SAVES_UNDER_A_LIMIT = textwrap.dedent(
    """
    import resource, sys
    from pathlib import Path
    from worker.lifeboat.directory import DirectoryLifeboat
    from worker.lifeboat.lifeboat_errors import LifeboatFullError

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        DirectoryLifeboat(Path(sys.argv[1])).save(sys.argv[2], b"x" * 5000)
    except LifeboatFullError as error:
        print(error)
    """
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The path of the directory lifeboat, not made yet."""
    return tmp_path / "of" / "lifeboat"


@pytest.fixture
def bucket_settings(settings: Settings) -> Settings:
    """Settings with a lifeboat in a bucket that exists."""
    name = f"lifeboat-{uuid.uuid4().hex}"
    bucket = Bucket(settings.model_copy(update={"s3_bucket": name}))
    bucket.create()
    bucket.close()
    return settings.model_copy(update={"lifeboat_dir": f"s3://{name}/paid/results"})


@pytest.fixture(params=["directory", "bucket"])
def lifeboat(request: pytest.FixtureRequest, settings: Settings, place: Path) -> Iterator[Lifeboat]:
    """A lifeboat of either form."""
    if request.param == "directory":
        chosen = settings.model_copy(update={"lifeboat_dir": str(place)})
    else:
        chosen = request.getfixturevalue("bucket_settings")
    opened = open_lifeboat(chosen)
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def key() -> str:
    """The id of some job."""
    return str(uuid.uuid4())


class TestEitherForm:
    def test_gives_back_what_it_was_given(self, lifeboat: Lifeboat, key: str) -> None:
        """The bytes are unchanged, and the entry is listed."""
        lifeboat.save(key, DATA)
        assert lifeboat.read(key, max_bytes=MAX) == DATA
        assert lifeboat.keys() == [key]

    def test_takes_the_same_entry_again(self, lifeboat: Lifeboat, key: str) -> None:
        """A save that is repeated replaces the entry."""
        lifeboat.save(key, b"before")
        lifeboat.save(key, DATA)
        assert lifeboat.read(key, max_bytes=MAX) == DATA

    def test_has_nothing_that_it_was_not_given(self, lifeboat: Lifeboat, key: str) -> None:
        """A missing entry is None and no error."""
        assert lifeboat.read(key, max_bytes=MAX) is None
        assert lifeboat.keys() == []

    def test_forgets_what_is_removed(self, lifeboat: Lifeboat, key: str) -> None:
        """Removing twice does no harm."""
        lifeboat.save(key, DATA)
        lifeboat.remove(key)
        lifeboat.remove(key)
        assert lifeboat.read(key, max_bytes=MAX) is None

    def test_reads_no_more_than_it_is_asked_to(self, lifeboat: Lifeboat, key: str) -> None:
        """A file larger than any result was not saved by cutout."""
        lifeboat.save(key, DATA)
        with pytest.raises(LifeboatError, match="not saved by cutout"):
            lifeboat.read(key, max_bytes=len(DATA) - 1)

    @pytest.mark.parametrize("name", ["", "..", "../etc/passwd", "/etc/passwd", "a.part", "A" * 36])
    def test_knows_no_names_but_job_ids(self, lifeboat: Lifeboat, name: str) -> None:
        """No name leads out of the lifeboat."""
        with pytest.raises(LifeboatError, match="no entry of a lifeboat"):
            lifeboat.save(name, DATA)
        with pytest.raises(LifeboatError, match="no entry of a lifeboat"):
            lifeboat.read(name, max_bytes=MAX)
        with pytest.raises(LifeboatError, match="no entry of a lifeboat"):
            lifeboat.remove(name)


def test_no_setting_is_no_lifeboat(settings: Settings) -> None:
    """Without CUTOUT_LIFEBOAT_DIR there is none."""
    assert open_lifeboat(settings) is None


class TestADirectory:
    def test_is_readable_by_the_worker_alone(self, place: Path, key: str) -> None:
        """The directory has mode 0700 and an entry 0600, whatever the umask is."""
        before = os.umask(0)
        try:
            DirectoryLifeboat(place).save(key, DATA)
        finally:
            os.umask(before)
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE((place / key).stat().st_mode) == 0o600

    def test_follows_no_link(self, place: Path, key: str, tmp_path: Path) -> None:
        """A link in an entry's place is neither read nor written through."""
        outside = tmp_path / "outside"
        outside.write_bytes(b"secret")
        place.mkdir(parents=True)
        (place / key).symlink_to(outside)
        with pytest.raises(LifeboatError):
            DirectoryLifeboat(place).read(key, max_bytes=MAX)
        DirectoryLifeboat(place).save(key, DATA)
        assert outside.read_bytes() == b"secret"
        assert DirectoryLifeboat(place).read(key, max_bytes=MAX) == DATA

    def test_waits_for_no_pipe(self, place: Path, key: str) -> None:
        """A pipe in an entry's place was not saved by cutout."""
        place.mkdir(parents=True)
        os.mkfifo(place / key)
        with pytest.raises(LifeboatError, match="not saved by cutout"):
            DirectoryLifeboat(place).read(key, max_bytes=MAX)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
    def test_that_is_full_says_so_and_keeps_no_half(self, tmp_path: Path, key: str) -> None:
        """An entry that does not fit leaves nothing behind, and the earlier entries stay."""
        small = tmp_path / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)  # noqa: S607
        try:
            lifeboat = DirectoryLifeboat(small)
            lifeboat.save(key, DATA)
            for name in (key, str(uuid.uuid4())):
                with pytest.raises(LifeboatFullError, match=f"{small} is full.*CUTOUT_LIFEBOAT_DIR"):
                    lifeboat.save(name, b"x" * 100_000)
            assert [path.name for path in small.iterdir()] == [key]
            assert lifeboat.read(key, max_bytes=MAX) == DATA
        finally:
            subprocess.run(["umount", small], check=True)  # noqa: S607

    def test_that_takes_no_more_bytes_keeps_no_half(self, place: Path, key: str) -> None:
        """A write that breaks off, here at the process's own limit, leaves nothing."""
        ran = subprocess.run(
            [sys.executable, "-c", SAVES_UNDER_A_LIMIT, place, key],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"{place} is full" in ran.stdout
        assert list(place.iterdir()) == []

    def test_that_is_none_is_an_error_with_a_remedy(self, place: Path, key: str) -> None:
        """The error names a file in its place, or a disk that is not mounted."""
        place.parent.mkdir()
        place.touch()
        lifeboat = DirectoryLifeboat(place)
        steps: list[Callable[[], object]] = [
            lambda: lifeboat.save(key, DATA),
            lambda: lifeboat.read(key, max_bytes=MAX),
            lambda: lifeboat.remove(key),
        ]
        for step in steps:
            with pytest.raises(LifeboatError, match=f"{place} cannot be .*mounted"):
                step()

    def test_removes_what_a_process_that_died_left_unfinished(self, place: Path, key: str) -> None:
        """An old unfinished file is removed; one that may be under way stays; neither is an entry."""
        lifeboat = DirectoryLifeboat(place)
        lifeboat.save(key, DATA)
        old, new = (place / f".{key}.{n}.part" for n in (1, 2))
        old.touch()
        new.touch()
        long_ago = old.stat().st_mtime - LEFT_BEHIND_S - 60
        os.utime(old, (long_ago, long_ago))
        assert lifeboat.keys() == [key]
        assert (old.exists(), new.exists()) == (False, True)


class TestABucket:
    def test_keeps_its_entries_under_the_prefix(self, bucket_settings: Settings, key: str) -> None:
        """s3://bucket/prefix: the object's key begins with the prefix, and nothing else there is an entry."""
        lifeboat = BucketLifeboat(bucket_settings)
        lifeboat.save(key, DATA)
        name = str(lifeboat).split("/")[2]
        bucket = Bucket(bucket_settings.model_copy(update={"s3_bucket": name}))
        bucket.put_cutout(DATA, key="paid/results/notes", media_type="text/plain", metadata={})
        bucket.put_cutout(DATA, key=str(uuid.uuid4()), media_type="text/plain", metadata={})
        assert bucket.read(f"paid/results/{key}", max_bytes=MAX) == DATA
        assert lifeboat.keys() == [key]

    def test_may_be_a_whole_bucket(self, bucket_settings: Settings, key: str) -> None:
        """Without a prefix the key is the job's id."""
        name = (bucket_settings.lifeboat_dir or "").split("/")[2]
        lifeboat = BucketLifeboat(bucket_settings.model_copy(update={"lifeboat_dir": f"s3://{name}"}))
        lifeboat.save(key, DATA)
        assert lifeboat.keys() == [key]
        assert Bucket(bucket_settings.model_copy(update={"s3_bucket": name})).keys("") == [key]

    def test_is_reached_by_its_own_settings(self, bucket_settings: Settings, key: str) -> None:
        """With CUTOUT_LIFEBOAT_S3_… set, the first bucket's server and keys do not matter."""
        apart = bucket_settings.model_copy(
            update={
                "lifeboat_s3_endpoint_url": bucket_settings.s3_endpoint_url,
                "lifeboat_s3_access_key": bucket_settings.s3_access_key,
                "lifeboat_s3_secret_key": bucket_settings.s3_secret_key,
                "s3_endpoint_url": "http://127.0.0.1:9",
                "s3_access_key": "nobody",
            }
        )
        lifeboat = BucketLifeboat(apart)
        lifeboat.save(key, DATA)
        assert lifeboat.read(key, max_bytes=MAX) == DATA

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"lifeboat_dir": "s3://no-such-bucket"}, "'no-such-bucket'.*CUTOUT_LIFEBOAT_DIR"),
            ({"s3_access_key": "nobody"}, "CUTOUT_LIFEBOAT_S3_ACCESS_KEY"),
            ({"lifeboat_s3_endpoint_url": "http://127.0.0.1:9"}, "did not answer"),
        ],
    )
    def test_that_does_not_work_names_its_own_settings(
        self, bucket_settings: Settings, key: str, changed: dict[str, str], said: str
    ) -> None:
        """The error does not name the settings of the first bucket."""
        lifeboat = BucketLifeboat(bucket_settings.model_copy(update=changed))
        with pytest.raises(LifeboatError, match=said) as caught:
            lifeboat.save(key, DATA)
        assert "CUTOUT_S3" not in str(caught.value)


class TestTheSweep:
    def test_removes_the_entries_of_final_jobs_alone(self, lifeboat: Lifeboat, engine: Engine) -> None:
        """A cancelled job's entry goes; that of a job still under way, or of another database, stays."""
        with Session(engine) as session, session.begin():
            done, under_way = (enqueue(session, NewJob(SOURCE)) for _ in range(2))
            queue.cancel(session, done)
        stranger = uuid.uuid4()
        for job_id in (done, under_way, stranger):
            lifeboat.save(str(job_id), DATA)
        sweep(lifeboat, engine)
        assert set(lifeboat.keys()) == {str(under_way), str(stranger)}

    def test_of_an_unreachable_lifeboat_stops_no_worker(
        self, bucket_settings: Settings, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged as an error, and the next start sweeps."""
        away = bucket_settings.model_copy(update={"lifeboat_s3_endpoint_url": "http://127.0.0.1:9"})
        sweep(BucketLifeboat(away), engine)
        assert [line.levelname for line in caplog.records if "lifeboat" in line.name] == ["ERROR"]
