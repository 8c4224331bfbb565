"""`cutout accept`, and where else a person sees what came unexpectedly."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Hold
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, enqueue
from cutout.storage import Bucket
from cutout.storage.unexpected_bytes import CODE, Unexpected, unexpected_key
from tests.cli.command import Cutout
from tests.support.plain_http import NO_TLS
from tests.support.sandbox import Sandbox
from tests.support.steps import SOURCE, begin, claim_one, new_worker
from tests.support.system import System

DATA = b"\x89PNG without alpha"
MakeHeld = Callable[..., Claim]


@pytest.fixture
def held(engine: Engine, bucket: Bucket) -> MakeHeld:
    """Makes a job that is held for something unexpected, which lies in the bucket."""

    def make(*, code: str = CODE, width: int | None = 60, raw: str | None = None) -> Claim:
        with Session(engine) as session, session.begin():
            enqueue(session, NewJob(SOURCE, "SKU"))
            claim = claim_one(session, new_worker(session))
            answer = Answer(AttemptOutcome.UNKNOWN, code="ANSWER_NOT_UNDERSTOOD", raw_answer=raw)
            queue.end_attempt(session, begin(session, claim), answer)
            sha256 = hashlib.sha256(DATA).hexdigest()
            key = unexpected_key(claim.job_id, sha256, "png")
            bucket.put_cutout(DATA, key=key, media_type="image/png", metadata={})
            found = Unexpected(key, "it has no alpha", sha256, "image/png", "png", len(DATA), width, width)
            claim = queue.save_unexpected(session, claim, found)
            queue.settle(session, claim, Hold(code, "it has no alpha"))
            return claim

    return make


class TestAccepting:
    def test_without_a_worker_says_that_it_waits_for_one(self, cutout: Cutout, held: MakeHeld) -> None:
        """Accepted, and unfinished: 3. A second time there is nothing to accept: 1."""
        job_id = held().job_id
        ran = cutout("accept", str(job_id), "--wait", "0")
        assert (ran.code, ran.stderr) == (3, "")
        assert ran.stdout.startswith(f"accepted unexpected/{job_id}/")
        assert "no worker has copied it yet" in ran.stdout
        again = cutout("accept", str(job_id), "--wait", "0")
        assert (again.code, again.stdout) == (1, "")
        assert "is queued and has nothing to accept" in again.stderr

    def test_of_what_is_no_picture_is_refused(self, cutout: Cutout, held: MakeHeld) -> None:
        """A page cannot be a cutout; whoever wants to look at it has a link."""
        ran = cutout("accept", str(held(width=None).job_id))
        assert (ran.code, ran.stdout) == (1, "")
        assert "is no picture (it has no alpha)" in ran.stderr

    def test_of_a_job_that_is_held_for_something_else_is_refused(
        self, cutout: Cutout, engine: Engine, held: MakeHeld
    ) -> None:
        """There is nothing to accept."""
        job_id = held().job_id
        with engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET unexpected = NULL"))
        assert cutout("accept", str(job_id)).code == 1
        assert cutout("accept", "ffff").code == 2


class TestWhatAPersonSees:
    @pytest.mark.parametrize("command", ["status", "explain"])
    def test_names_what_came_with_a_link(self, cutout: Cutout, held: MakeHeld, command: str) -> None:
        """The key, what it is and why it is no cutout, and a link that gives the bytes."""
        claim = held()
        ran = cutout(command, str(claim.job_id))
        assert claim.unexpected is not None
        words = f"  unexpected: {claim.unexpected.key}  60x60 image/png, {len(DATA)} bytes: it has no alpha\n"
        assert words in ran.stdout
        (link,) = [line.strip() for line in ran.stdout.splitlines() if line.startswith("  http")]
        assert httpx.get(link, verify=NO_TLS).content == DATA

    def test_is_told_what_can_be_done(self, cutout: Cutout, held: MakeHeld) -> None:
        """To accept it, or what a retry would do."""
        job_id = held().job_id
        said = cutout("explain", str(job_id)).stdout
        assert f"`cutout accept {job_id}` takes the received picture as its cutout" in said
        assert f"`cutout retry {job_id}`, for another call" in said

    def test_sees_an_answer_that_was_not_understood_only_when_asked(
        self, cutout: Cutout, held: MakeHeld
    ) -> None:
        """It may hold the URL of what was paid for, which is a secret; nothing in it moves the cursor."""
        job_id = str(
            held(code="ANSWER_NOT_UNDERSTOOD", raw='{"elements": ["https://r.example/1"]}\x1b[2J').job_id
        )
        plain = cutout("explain", job_id).stdout
        assert f"`cutout explain {job_id} --answer` shows the endpoint's answer" in plain
        assert "r.example" not in plain + cutout("status", job_id).stdout
        shown = cutout("explain", job_id, "--answer").stdout
        assert '{"elements": ["https://r.example/1"]}\\x1b[2J' in shown

    def test_is_told_that_no_answer_was_kept(self, cutout: Cutout, held: MakeHeld) -> None:
        """Every one was understood."""
        assert "none is kept" in cutout("explain", str(held().job_id), "--answer").stdout


class TestTheWholePath:
    @pytest.mark.long("runs everything once; tests/worker/pipeline/test_paid_result.py has the steps")
    def test_from_a_picture_without_alpha_to_its_cutout(
        self, system: System, sandbox: Sandbox, picture: bytes, tmp_path: Path
    ) -> None:
        """Paid, kept, held, looked at by its link, accepted, and fetched: one credit."""
        before = sandbox.charges()
        sandbox.fault("opaque_image", next=1)
        client = system.client
        job_id = client.post("/v1/jobs", files={"image": ("a.png", picture)}).json()["id"]
        system.until("SELECT bool_or(state = 'held') FROM jobs")
        view = client.get(f"/v1/jobs/{job_id}").json()
        unexpected = httpx.get(
            client.get(view["unexpected"]["url"]).headers["location"], verify=NO_TLS
        ).content
        ran = Cutout(system.environment, tmp_path)("accept", job_id)
        assert (ran.code, ran.stderr) == (0, "")
        assert f"the job {job_id} succeeded: cutouts/" in ran.stdout
        view = client.get(f"/v1/jobs/{job_id}").json()
        assert (view["state"], view["credits"]) == ("succeeded", 1)
        assert view["result"]["warning"].startswith("accepted by a person")
        link = client.get(view["result"]["url"]).headers["location"]
        assert httpx.get(link, verify=NO_TLS).content == unexpected
        assert sandbox.charges() - before == 1
