import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from PIL import Image
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout.enums import AttemptOutcome, Forms, ReturnForm, State, Step
from cutout.models import Account
from cutout.queue.actions import retry
from cutout.queue.attempts.outcomes import Hold
from cutout.queue.dispatch import dispatch_calls
from cutout.storage import Bucket
from tests.support.bench import Bench
from tests.support.pictures import animation, bomb, encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.support.web import serve
from worker.pipeline.process import process
from worker.signed_objects import SignedObjectClient


class TestAGoodPicture:
    @pytest.mark.parametrize(
        ("form", "mode"),
        [
            (ReturnForm.RGBA, "RGBA"),
            (ReturnForm.MASK, "L"),
            (ReturnForm.WHITE_BACKGROUND, "RGB"),
            (ReturnForm.CROP, "RGBA"),
        ],
    )
    def test_becomes_a_cutout_in_the_bucket(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, form: ReturnForm, mode: str
    ) -> None:
        """One call, one charge, one verified object of the form that was bought."""
        job = bench.done(photo, form, forms=Forms.BOUGHT)
        assert (job.state, job.code, job.result_url) == (State.SUCCEEDED, None, None)
        assert job.key is not None
        data = bench.bucket.read(job.key, max_bytes=10**8)
        with Image.open(io.BytesIO(data)) as cutout:
            assert (cutout.mode, cutout.size) == (mode, (job.width, job.height))
        assert hashlib.sha256(data).digest() == job.sha256
        assert sandbox.charges() == 1

    @pytest.mark.parametrize("form", [ReturnForm.MASK, ReturnForm.WHITE_BACKGROUND, ReturnForm.CROP])
    def test_is_bought_as_rgba_for_a_form_that_is_derived(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, form: ReturnForm
    ) -> None:
        """RGBA of the picture's size is stored beside the place of the form itself, which is to be made."""
        job = bench.done(photo, form)
        assert (job.state, job.return_form, job.bought_form) == (State.SUCCEEDED, form, ReturnForm.RGBA)
        assert job.key == f"cutouts/{job.batch_id}/SKU.{form}.rgba.png"
        data = bench.bucket.read(job.key, max_bytes=10**8)
        with Image.open(io.BytesIO(data)) as cutout, Image.open(io.BytesIO(photo)) as sent:
            assert (cutout.mode, cutout.size) == ("RGBA", sent.size)
        (charge,) = sandbox.ledger()["charges"]
        assert charge["return_form"] is None
        with bench.engine.connect() as connection:
            rows = connection.execute(text("SELECT name, state, bought_sha256 FROM outputs ORDER BY name"))
            assert set(rows) == {(name, "waiting", job.sha256) for name in ("score", form)}

    def test_is_sent_byte_for_byte(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The endpoint got exactly what the producer gave, and the ledger has its hash."""
        job = bench.done(photo)
        (attempt,) = bench.attempts(job.id)
        (charge,) = sandbox.ledger()["charges"]
        assert charge["image_sha256"] == hashlib.sha256(photo).hexdigest() == attempt.image_sha256.hex()
        assert (attempt.outcome, attempt.request_id) == (AttemptOutcome.CHARGED, charge["request_id"])

    def test_is_tied_to_its_object(self, bench: Bench, photo: bytes) -> None:
        """The object's metadata names the job."""
        job = bench.done(photo)
        head = bench.bucket._client.head_object(Bucket=bench.bucket.name, Key=job.key or "")
        assert head["Metadata"]["job"] == str(job.id)

    @pytest.mark.parametrize("mode", ["L", "P", "CMYK"])
    def test_in_another_colour_mode_is_fitted_first(self, bench: Bench, mode: str) -> None:
        """A picture that the endpoint would refuse is re-encoded before the call."""
        kind = "JPEG" if mode == "CMYK" else "PNG"
        assert bench.done(encoded(plain(mode=mode), kind)).state == State.SUCCEEDED

    def test_that_is_too_large_is_made_smaller(self, bench: Bench) -> None:
        """A picture of 4000 pixels comes back at 1999."""
        job = bench.done(encoded(plain(4000, 3000), "JPEG"))
        assert (job.state, job.width) == (State.SUCCEEDED, 1999)


class TestARepeatedMessage:
    def test_to_the_same_worker_makes_no_second_call(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Of several threads with the same message, one carries the job."""
        sandbox.set(latency=0.5)
        job_id = bench.enqueue(photo)
        with Session(bench.engine) as session, session.begin():
            ((_, fence),) = dispatch_calls(session, 1, lease=LEASE)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: process(bench.context, job_id, fence), range(4)))
        assert bench.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1


class TestABadPicture:
    @pytest.mark.parametrize(
        ("picture", "code", "said"),
        [
            (b"", "IMAGE_EMPTY", "0 bytes"),
            (b"just some text", "IMAGE_", ""),
            (encoded(plain(600, 400), "JPEG")[:-500], "IMAGE_TRUNCATED", ""),
            (encoded(plain(600, 400), "PNG")[:-100], "IMAGE_TRUNCATED", ""),
            (bomb(), "IMAGE_TOO_MANY_PIXELS", "30000x30000"),
            (animation(), "IMAGE_ANIMATED", "animated; send one of its frames"),
            (encoded(plain(20, 20), "PNG"), "IMAGE_TOO_SMALL", "20x20"),
        ],
        ids=["empty", "text", "cut JPEG", "cut PNG", "bomb", "animated", "tiny"],
    )
    def test_fails_at_once_without_a_call(
        self, bench: Bench, sandbox: Sandbox, picture: bytes, code: str, said: str
    ) -> None:
        """The job says what is wrong with the picture, and no credit is spent."""
        job = bench.done(picture)
        assert job.state == State.FAILED
        assert (job.code or "").startswith(code)
        assert said in (job.message or "")
        assert sandbox.charges() == 0
        assert bench.attempts(job.id) == []

    def test_does_not_keep_others_from_their_turn(self, bench: Bench, photo: bytes) -> None:
        """Other jobs are processed as if there were no bad picture."""
        good, bad = bench.enqueue(photo), bench.enqueue(b"text")
        bench.work()
        assert (bench.job(good).state, bench.job(bad).state) == (State.SUCCEEDED, State.FAILED)


class TestARefusal:
    def test_to_be_tried_again_uses_up_a_try_and_succeeds(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A failure of the endpoint is retried; one charge in the end."""
        sandbox.fault("code", code="PROCESSING_FAILURE", next=1)
        job = bench.done(photo)
        assert (job.state, job.tries, job.code) == (State.QUEUED, 1, "PROCESSING_FAILURE")
        bench.work()
        assert bench.job(job.id).state == State.SUCCEEDED
        assert [attempt.outcome for attempt in bench.attempts(job.id)] == ["not_charged", "charged"]
        assert sandbox.charges() == 1

    def test_for_speed_uses_up_no_try(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """A refusal for speed is no failure."""
        sandbox.fault("code", code="EXCEEDING_LIMITS", next=1)
        job = bench.done(photo)
        assert (job.state, job.tries, job.code) == (State.QUEUED, 0, "EXCEEDING_LIMITS")

    def test_of_the_account_stops_every_call(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """Without credits nothing more is sent, no job fails and no try is used."""
        sandbox.fault("code", code="ERROR_NOT_ENOUGH_CREDITS", next=1)
        first = bench.done(photo)
        second = bench.done(photo)
        assert (first.state, first.tries, second.state, second.tries) == (State.QUEUED, 0, State.QUEUED, 0)
        assert (len(bench.attempts(first.id)), len(bench.attempts(second.id))) == (1, 0)
        with Session(bench.engine) as session:
            assert session.scalars(select(Account)).one().pause_code == "ERROR_NOT_ENOUGH_CREDITS"

    def test_of_the_picture_is_answered_by_one_re_encoding(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The second call carries another encoding of the picture and succeeds."""
        sandbox.fault("code", code="FILE_DECODING_FAILURE", next=1)
        job = bench.done(photo)
        assert job.state == State.SUCCEEDED
        first, second = bench.attempts(job.id)
        assert first.image_sha256 != second.image_sha256
        assert sandbox.charges() == 1

    def test_of_the_re_encoded_picture_too_fails_the_job(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """One re-encoding, one more call, and then the endpoint's own reason."""
        sandbox.fault("code", code="FILE_DECODING_FAILURE", next=2)
        job = bench.done(photo)
        assert (job.state, job.code, len(bench.attempts(job.id))) == (
            State.FAILED,
            "FILE_DECODING_FAILURE",
            2,
        )

    def test_of_the_input_fails_at_once(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """A call that cannot succeed is not repeated."""
        sandbox.fault("code", code="FILE_CONTENT_NON_COMPLIANCE", next=1)
        job = bench.done(photo)
        assert (job.state, job.code) == (State.FAILED, "FILE_CONTENT_NON_COMPLIANCE")

    def test_without_a_meaning_here_is_tried_once_more(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A code that says nothing to us fails the job at the second time."""
        sandbox.fault("code", code="ERROR_TASK_REVOKED", next=2)
        job = bench.done(photo)
        assert (job.state, job.tries) == (State.QUEUED, 1)
        bench.work()
        assert bench.job(job.id).state == State.FAILED


class TestACallWithoutAnAnswer:
    def test_is_an_unknown_charge_that_is_repeated_once_and_then_held(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Both charges stand in our ledger as unknown, and a person decides on a third."""
        sandbox.fault("drop_after", next=2)
        job = bench.done(photo)
        assert (job.state, job.code) == (State.QUEUED, "NO_ANSWER")
        bench.work()
        assert bench.job(job.id).state == State.HELD
        assert [attempt.outcome for attempt in bench.attempts(job.id)] == ["unknown", "unknown"]
        assert sandbox.charges() == 2
        bench.work()
        assert sandbox.charges() == 2

    def test_because_nothing_listens_costs_nothing(
        self, make_bench: Callable[..., Bench], photo: bytes
    ) -> None:
        """A refused connection costs no charge and no try: the job is delayed."""
        job = make_bench(endpoint_url="http://127.0.0.1:9").done(photo)
        assert (job.state, job.tries, job.code) == (State.QUEUED, 0, "NOT_SENT")


class TestAPaidResult:
    def test_that_arrives_broken_is_fetched_again_and_not_bought_again(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A truncated download is another download, not another call."""
        sandbox.fault("truncated_image", next=1)
        job = bench.done(photo)
        assert (job.state, job.step) == (State.QUEUED, Step.COPY)
        assert sandbox.charges() == 1

    def test_that_is_gone_holds_the_job_for_a_person(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A lost result is not bought again unless a person asks for it."""
        sandbox.fault("result_gone", next=1)
        job = bench.done(photo, rounds=3)
        assert (job.state, job.code) == (State.HELD, "RESULT_EXPIRED")
        assert sandbox.charges() == 1

    def test_from_a_host_that_is_not_allowed_waits_for_the_setting(
        self, make_bench: Callable[..., Bench], photo: bytes
    ) -> None:
        """The paid result is kept, and the reason names CUTOUT_RESULT_HOSTS but not the URL."""
        job = make_bench(result_hosts=("*.ailabtools.com",)).done(photo)
        assert (job.state, job.step, job.code) == (State.QUEUED, Step.COPY, "RESULT_HOST_REFUSED")
        assert "CUTOUT_RESULT_HOSTS" in (job.message or "")
        assert (job.result_url or "x") not in (job.message or "")

    def test_waits_while_the_bucket_is_unreachable(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a failed copy the job continues with the copy; the call is not repeated."""
        job_id = bench.enqueue(photo)
        away = Bucket(bench.context.settings.model_copy(update={"s3_access_key": "nobody"}))
        with monkeypatch.context() as patch, closing(away), closing(SignedObjectClient(away)) as refused:
            patch.setattr(bench.context.objects, "put_cutout", refused.put_cutout)
            bench.work()
        assert (bench.job(job_id).step, bench.job(job_id).code) == (Step.COPY, "STORAGE_AWAY")
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1

    def test_is_kept_when_the_outcome_of_its_job_cannot_be_written(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Postgres refuses the text of the outcome: the job is held, and not left `running`."""
        job_id = bench.enqueue(photo)
        with monkeypatch.context() as patch:
            patch.setattr(
                "worker.pipeline.process.copy", lambda _, claim: (claim, Hold("X", "a word with a \x00"))
            )
            bench.work()
        assert (bench.job(job_id).state, bench.job(job_id).code) == (State.HELD, "INTERNAL_ERROR")
        with bench.engine.begin() as connection:
            assert retry(connection, job_id)
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1


class TestASource:
    def test_that_was_deleted_fails_the_job(self, bench: Bench) -> None:
        """The reason names the object."""
        job = bench.done(f"s3://{bench.bucket.name}/sources/none")
        assert (job.state, job.code) == (State.FAILED, "SOURCE_MISSING")

    def test_is_read_from_another_bucket_that_is_named(
        self, make_bench: Callable[..., Bench], bucket: Bucket, photo: bytes
    ) -> None:
        """CUTOUT_SOURCE_BUCKETS allows a bucket; its keys are taken literally, with blanks."""
        other = bucket.sibling(f"{bucket.name[:50]}-other")
        other.create()
        other.put_cutout(photo, key="drop/a b?.jpg", media_type="image/jpeg", metadata={})
        bench = make_bench(source_buckets=(other.name, "not-there-at-all"))
        assert bench.done(f"s3://{other.name}/drop/a b?.jpg".replace(" ", "%20")).code == "SOURCE_MISSING"
        job_id = bench.enqueue(f"s3://{other.name}/drop/x")
        bench.change(job_id, f"source = 's3://{other.name}/drop/a b?.jpg'")
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED
        assert bench.done("s3://not-there-at-all/x").code == "SOURCE_MISSING"

    @pytest.mark.parametrize(
        "address",
        [
            "https://127.0.0.1/a.jpg",
            "https://localhost/a.jpg",
            "https://[::1]/a.jpg",
            "https://[::ffff:10.0.0.1]/a.jpg",
            "https://169.254.169.254/latest/meta-data",
            "http://shop.example/a.jpg",
            "s3://another-bucket/key",
        ],
    )
    def test_that_leads_inside_is_refused(self, bench: Bench, address: str) -> None:
        """No private address is fetched, in any spelling, and nothing by plain http."""
        job = bench.done(address)
        assert (job.state, job.code) == (State.FAILED, "SOURCE_REFUSED")

    def test_is_fetched_from_a_private_host_that_is_named(
        self, make_bench: Callable[..., Bench], photo: bytes
    ) -> None:
        """CUTOUT_SOURCE_PRIVATE_HOSTS allows one host and port, also by plain http."""
        with serve({"/a.jpg": photo}) as host:
            job = make_bench(source_private_hosts=(host,)).done(f"http://{host}/a.jpg")
        assert job.state == State.SUCCEEDED

    def test_that_redirects_inside_is_refused(self, make_bench: Callable[..., Bench]) -> None:
        """Each redirect is checked: a public host cannot lead to a private one."""
        with serve({"/secret": b"x"}) as inside, serve({"/a.jpg": f"http://{inside}/secret"}) as host:
            job = make_bench(source_private_hosts=(host,)).done(f"http://{host}/a.jpg")
        assert (job.state, job.code) == (State.FAILED, "SOURCE_REFUSED")

    def test_whose_server_has_nothing_there_fails_the_job(self, make_bench: Callable[..., Bench]) -> None:
        """A 404 is a mistake in the address and is not tried again."""
        with serve({}) as host:
            job = make_bench(source_private_hosts=(host,)).done(f"http://{host}/a.jpg")
        assert (job.state, job.code) == (State.FAILED, "SOURCE_MISSING")
