import csv
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from cutout.enums import Priority, ReturnForm
from cutout.models import Batch, Job
from cutout.producers.api_keys import revoke_keys
from cutout.producers.producers import create_producer
from cutout.storage import Bucket
from tests.cli.command import Cutout

WEB = "https://shop.example/a.jpg"
WRONG_SECRET = {"CUTOUT_S3_SECRET_KEY": "mistyped"}


@pytest.fixture
def stored(engine: Engine) -> Callable[[], list[Job]]:
    """Gives every job of the database, in the order enqueued."""

    def read() -> list[Job]:
        with Session(engine) as session:
            return list(session.scalars(select(Job).order_by(Job.id)))

    return read


@pytest.fixture
def sigint_heeded() -> Iterator[None]:
    """Children heed SIGINT even where this run ignores it, as in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def batches(engine: Engine) -> int:
    with engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM batches")).scalar_one()
        return count


def rejected(directory: Path) -> list[list[str]]:
    """The lines of rejects.csv below its header."""
    header, *lines = csv.reader((directory / "rejects.csv").read_text().splitlines())
    assert header == ["line", "column", "value", "reason"]
    return lines


def pictures(directory: Path, picture: bytes, *names: str) -> Path:
    """A directory `photos` with the picture under these names."""
    photos = directory / "photos"
    photos.mkdir()
    for name in names:
        (photos / name).write_bytes(picture)
    return photos


@pytest.mark.usefixtures("bucket")
class TestIngestingADirectory:
    def test_makes_a_job_of_every_picture(
        self, cutout: Cutout, bucket: Bucket, stored: Callable[[], list[Job]], tmp_path: Path, picture: bytes
    ) -> None:
        """Each picture lies in the bucket byte for byte, and its job bears its name."""
        pictures(tmp_path, picture, "hat.jpg", "shoe.jpg", "shoe.png")
        ran = cutout("ingest", "photos")
        jobs = stored()
        assert ran.code == 0
        assert [job.external_id for job in jobs] == ["hat", "shoe.jpg", "shoe.png"]
        for job in jobs:
            key = bucket.key_of(job.source)
            assert key is not None
            assert bucket.read(key, max_bytes=len(picture)) == picture
        assert f"batch {jobs[0].batch_id}: 3 enqueued, 0 rejected, 0 duplicates\n" in ran.stdout
        assert f"`cutout status {jobs[0].batch_id}`" in ran.stdout
        assert ran.stderr == ""

    @pytest.mark.parametrize(
        ("words", "variables", "bought", "full_size"),
        [
            ((), {}, "rgba", True),
            (("--forms", "bought", "--sent-size"), {}, "crop", False),
            ((), {"CUTOUT_FORMS": "bought", "CUTOUT_FULL_SIZE": "false"}, "crop", False),
            (("--forms", "derived", "--full-size"), {"CUTOUT_FORMS": "bought"}, "rgba", True),
        ],
    )
    def test_buys_rgba_unless_forms_are_bought(
        self,
        cutout: Cutout,
        stored: Callable[[], list[Job]],
        tmp_path: Path,
        picture: bytes,
        *,
        words: tuple[str, ...],
        variables: dict[str, str],
        bought: str,
        full_size: bool,
    ) -> None:
        """The options win over the settings."""
        pictures(tmp_path, picture, "hat.jpg")
        ran = cutout("ingest", "photos", "--return-form", "crop", *words, settings=variables)
        assert (ran.code, ran.stderr) == (0, "")
        assert [(job.bought_form, job.full_size) for job in stored()] == [(bought, full_size)]

    def test_of_four_forms_is_priced_as_one_call(
        self, cutout: Cutout, engine: Engine, tmp_path: Path, picture: bytes
    ) -> None:
        """With forms that are bought a dry run names a credit for each."""
        pictures(tmp_path, picture, "hat.jpg")
        forms = [word for form in ReturnForm for word in ("--return-form", form)]
        for words, cost in (((), "to buy 1 1 credit,"), (("--forms", "bought"), "to buy 4 4 credits,")):
            planned = ("ingest", "photos", *forms, *words, "--dry-run")
            ran = cutout(*planned, settings={"CUTOUT_REUSE": "producer"})
            assert ran.code == 0
            assert cost in " ".join(ran.stdout.split())
        assert batches(engine) == 0

    def test_in_several_forms_makes_a_job_of_each(
        self, cutout: Cutout, engine: Engine, stored: Callable[[], list[Job]], tmp_path: Path, picture: bytes
    ) -> None:
        """A form named twice counts once; the batch has the name it was given, brackets and all."""
        pictures(tmp_path, picture, "hat.jpg")
        forms = [word for form in ("mask", "crop", "mask") for word in ("--return-form", form)]
        ran = cutout("ingest", "photos", *forms, "--name", "[/spring]")
        assert (ran.code, [job.return_form for job in stored()]) == (0, ["mask", "crop"])
        with Session(engine) as session:
            assert session.scalars(select(Batch.name)).all() == ["[/spring]"]

    def test_leaves_an_empty_picture_out(
        self, cutout: Cutout, stored: Callable[[], list[Job]], tmp_path: Path, picture: bytes
    ) -> None:
        """A file of 0 bytes or past CUTOUT_MAX_SOURCE_BYTES is rejected by name; the others are enqueued."""
        photos = pictures(tmp_path, picture, "good.png")
        (photos / "empty.png").touch()
        (photos / "large.png").write_bytes(b"x" * 5001)
        ran = cutout("ingest", photos, settings={"CUTOUT_MAX_SOURCE_BYTES": "5000"})
        assert (ran.code, [job.external_id for job in stored()]) == (1, ["good"])
        assert rejected(tmp_path) == [
            ["1", "source", "empty.png", "has 0 bytes; 1 to 5,000 are taken (CUTOUT_MAX_SOURCE_BYTES)"],
            ["3", "source", "large.png", "has 5,001 bytes; 1 to 5,000 are taken (CUTOUT_MAX_SOURCE_BYTES)"],
        ]
        assert "2 rejected, see rejects.csv" in ran.stderr

    @pytest.mark.parametrize(
        ("name", "said"), [("photos", "photos holds no pictures"), ("x", "x is neither")]
    )
    def test_that_has_none_is_an_error(
        self, cutout: Cutout, engine: Engine, tmp_path: Path, name: str, said: str
    ) -> None:
        """Without a picture or a directory there is one line and no batch."""
        (tmp_path / "photos").mkdir()
        ran = cutout("ingest", name)
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert ran.stderr.startswith(said)
        assert batches(engine) == 0

    def test_with_an_unknown_form_names_the_known_ones(self, cutout: Cutout, engine: Engine) -> None:
        """The wrong word and the four right ones are in the error."""
        ran = cutout("ingest", ".", "--return-form", "svg")
        assert ran.code == 2
        for word in ("svg", *ReturnForm):
            assert word in ran.stderr
        assert batches(engine) == 0


@pytest.mark.usefixtures("bucket")
class TestIngestingACsvFile:
    def test_makes_a_job_of_every_row(
        self, cutout: Cutout, stored: Callable[[], list[Job]], tmp_path: Path, picture: bytes
    ) -> None:
        """Files are uploaded, addresses are not; form and priority are the row's own."""
        pictures(tmp_path, picture, "a.png")
        rows = f"external_id,source,return_form,priority\nA,photos/a.png,,\nB,{WEB},crop,interactive\n"
        (tmp_path / "list.csv").write_text(rows)
        ran = cutout("ingest", "list.csv")
        uploaded, linked = stored()
        assert (ran.code, ran.stderr) == (0, "")
        assert (uploaded.external_id, uploaded.return_form) == ("A", "rgba")
        assert uploaded.source.startswith("s3://")
        assert (linked.external_id, linked.source, linked.return_form) == ("B", WEB, "crop")
        assert linked.priority == Priority.INTERACTIVE

    def test_of_many_rows_takes_them_all(
        self, cutout: Cutout, engine: Engine, stored: Callable[[], list[Job]], tmp_path: Path
    ) -> None:
        """1,200 rows are more than are stored at once; they are one batch, in order."""
        rows = "".join(f"{n},{WEB}\n" for n in range(1200))
        (tmp_path / "list.csv").write_text(f"external_id,source\n{rows}")
        ran = cutout("ingest", "list.csv")
        assert (ran.code, batches(engine)) == (0, 1)
        assert [job.external_id for job in stored()] == [str(n) for n in range(1200)]
        assert "1,200 enqueued" in ran.stdout

    def test_says_what_it_rejects_and_takes_the_rest(
        self, cutout: Cutout, stored: Callable[[], list[Job]], tmp_path: Path
    ) -> None:
        """Each reject is a line of rejects.csv; a repeated row counts as a duplicate; the exit code is 1."""
        rows = f"external_id,source,priority\na,{WEB},\nb,,\nc,none.jpg,\na,{WEB},\nd,{WEB},[now]\ne,{WEB},\n"
        (tmp_path / "list.csv").write_text(rows)
        ran = cutout("ingest", "list.csv")
        assert (ran.code, [job.external_id for job in stored()]) == (1, ["a", "e"])
        assert [line[:3] for line in rejected(tmp_path)] == [
            ["3", "source", ""],
            ["4", "source", "none.jpg"],
            ["6", "priority", "[now]"],
        ]
        assert "2 enqueued, 3 rejected, 1 duplicate\n" in ran.stdout
        assert ran.stderr.startswith("3 rejected, see rejects.csv")

    def test_of_which_nothing_is_left_makes_no_batch(
        self, cutout: Cutout, engine: Engine, tmp_path: Path
    ) -> None:
        """When every row is rejected there is nothing to look at later."""
        (tmp_path / "list.csv").write_text("external_id,source\na,\n")
        ran = cutout("ingest", "list.csv", "--wait")
        assert (ran.code, batches(engine)) == (1, 0)
        assert ran.stderr.splitlines()[-1] == "1 rejected, see rejects.csv; nothing is left to enqueue"

    @pytest.mark.parametrize(
        ("damage", "said"),
        [(b"caf\xe9,x\n", "byte 0xE9 in line 702"), (b'a,"x\n', "the quote that opens in line 702")],
        ids=["Latin-1", "open quote"],
    )
    def test_that_breaks_off_leaves_nothing_behind(
        self, cutout: Cutout, engine: Engine, tmp_path: Path, damage: bytes, said: str
    ) -> None:
        """A file that cannot be read to its end is one line, exit code 2, and neither job nor batch."""
        rows = "".join(f"{n},{WEB}\n" for n in range(700))
        (tmp_path / "list.csv").write_bytes(f"external_id,source\n{rows}".encode() + damage)
        ran = cutout("ingest", "list.csv")
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert said in ran.stderr
        assert batches(engine) == 0


class TestIngesting:
    def test_that_the_bucket_refuses_leaves_nothing_behind(
        self, cutout: Cutout, engine: Engine, tmp_path: Path, picture: bytes
    ) -> None:
        """The error names the variables to look at; no batch is left without its pictures."""
        ran = cutout("ingest", pictures(tmp_path, picture, "a.png"), settings=WRONG_SECRET)
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert "check CUTOUT_S3_ACCESS_KEY and CUTOUT_S3_SECRET_KEY" in ran.stderr
        assert batches(engine) == 0

    @pytest.mark.usefixtures("bucket")
    def test_with_a_producer_s_key_is_for_that_producer(
        self, cutout: Cutout, engine: Engine, stored: Callable[[], list[Job]], tmp_path: Path
    ) -> None:
        """The batch belongs to whom CUTOUT_API_KEY names; a revoked or wrong key is refused."""
        (tmp_path / "list.csv").write_text(f"external_id,source\na,{WEB}\n")
        with Session(engine) as session, session.begin():
            producer, key = create_producer(session, "shop")
            producer_id = producer.id
        assert cutout("ingest", "list.csv", settings={"CUTOUT_API_KEY": key}).code == 0
        with Session(engine) as session, session.begin():
            revoke_keys(session, producer_id)
        refused = cutout("ingest", "list.csv", settings={"CUTOUT_API_KEY": key})
        assert (refused.code, len(refused.stderr.splitlines())) == (2, 1)
        assert refused.stderr.startswith("CUTOUT_API_KEY is no producer's key")
        assert [job.producer_id for job in stored()] == [producer_id]

    @pytest.mark.usefixtures("bucket", "sigint_heeded")
    def test_and_waiting_can_be_left(
        self, cutout: Cutout, stored: Callable[[], list[Job]], tmp_path: Path
    ) -> None:
        """Ctrl-C ends the watching alone: the batch is named, stays queued, and the exit code says 3."""
        (tmp_path / "list.csv").write_text(f"external_id,source\na,{WEB}\n")
        process = cutout.start("ingest", "list.csv", "--wait")
        assert process.stdout is not None
        assert ": 1 enqueued" in process.stdout.readline()
        assert "no renderer runs" in process.stdout.readline()
        assert process.stdout.readline() == "0 of 1 done, 0 failed, 0 held, 0 credits\n"
        process.send_signal(signal.SIGINT)
        ran = cutout.ended(process)
        (job,) = stored()
        assert (ran.code, job.state) == (3, "queued")
        assert (
            f"detached; the batch continues. Check it with `cutout status {job.batch_id} --watch`"
            in ran.stderr
        )


JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"


@pytest.mark.usefixtures("bucket")
class TestWhatIsNotTaken:
    @pytest.fixture
    def drop(self, tmp_path: Path) -> Path:
        """Two pictures, one under no picture's name, and what is none."""
        drop = tmp_path / "drop"
        for name in ("a.jpg", "photo", "notes.txt", "film.mov", "@eaDir/a.jpg", "thumbs/a.jpg"):
            (drop / name).parent.mkdir(parents=True, exist_ok=True)
            (drop / name).write_bytes(b"text" if name in {"notes.txt", "film.mov"} else JPEG)
        return drop

    def test_is_counted_by_reason(self, cutout: Cutout, drop: Path, engine: Engine) -> None:
        """Beforehand, at the end and later; by name with a pattern."""
        said = [
            "skipped 2 no picture: film.mov, notes.txt",
            "skipped 1 of a system folder: @eaDir/a.jpg",
            "skipped 1 excluded by a pattern: thumbs/a.jpg",
        ]
        planned = cutout("ingest", drop, "--exclude", "thumbs", "--dry-run")
        assert planned.stderr.splitlines() == said
        assert re.search(r"^  skipped +4$", planned.stdout, re.MULTILINE)
        ran = cutout("ingest", drop, "--exclude", "thumbs")
        assert (ran.code, ran.stderr.splitlines()) == (0, said)
        assert ": 2 enqueued, 0 rejected, 0 duplicates, 4 skipped\n" in ran.stdout
        with engine.connect() as connection:
            batch_id = connection.scalar(text("SELECT id FROM batches"))
        assert [line.strip() for line in cutout("status", str(batch_id)).stdout.splitlines()[1:4]] == said

    def test_is_remarked_before_anything_is_stored(self, cutout: Cutout, bucket: Bucket) -> None:
        """A prefix that is no folder."""
        for key in ("photos/a.jpg", "photos-old/b.jpg"):
            bucket.put_cutout(JPEG, key=key, media_type="image/jpeg", metadata={})
        ran = cutout("ingest", f"s3://{bucket.name}/photos")
        assert ran.stderr.startswith(
            f"note: s3://{bucket.name}/photos is a prefix, not a folder: 1 of 2 pictures"
        )

    def test_is_in_the_help(self, cutout: Cutout) -> None:
        """Sources that are taken, skipped, rejected and refused, and the place of mappings."""
        said = " ".join(cutout("ingest", "--help").stdout.split())
        for words in (
            "Accepted are",
            "Skipped, and counted by reason,",
            "Rejected, each",
            "Refused as a whole",
            "docs/how-to/exports/",
        ):
            assert words in said

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--delimiter", "ab"), "--delimiter: 'ab' is not a delimiter"),
            (("--exclude", ""), "--exclude: the pattern '' does not have 1 to 200 characters"),
            (("--map", "source="), "--map: no column is named for source"),
            (("--many",), "is no manifest, and --many is for manifests; leave --many out"),
        ],
    )
    def test_is_asked_for_in_words_that_mean_something(
        self, cutout: Cutout, drop: Path, options: tuple[str, ...], said: str
    ) -> None:
        """One line, and nothing is stored."""
        ran = cutout("ingest", drop, *options)
        assert (ran.code, ran.stdout) == (2, "")
        assert said in ran.stderr
