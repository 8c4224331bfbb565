import re
import sys
import time
import uuid
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import Engine, insert, make_url, text
from sqlalchemy.orm import Session

from cutout.endpoint.client import call_url
from cutout.enums import OutputState, Stop
from cutout.images.kinds import is_heif_decoded
from cutout.models import CALIBRATIONS, Job
from cutout.monitoring.machine_checks import check_formats
from cutout.queue.blocks import storage_breaker
from cutout.settings import Settings
from cutout.storage import Bucket
from local import LocalServices
from tests.cli.command import Cutout, Ran
from tests.conftest import url_of
from tests.cutout.queue.test_serve_reused import buy
from tests.support.fates import DONE, make_batch
from tests.support.machine import scaled
from tests.support.outputs import job_id_of, put_output
from tests.support.sandbox import Sandbox
from tests.support.working import somebody_works
from tests.worker.wire import serving, silent

CHECKS = [
    *("database", "migrations", "redis", "bucket", "dispatcher", "worker", "calls", "cutouts", "objects"),
    *("eviction", "clocks", "formats", "archives", "endpoint", "results", "audit"),
    *("outputs", "calibration"),
]
# Nothing listens there: ports below 1024 are not given to the servers of tests.
CLOSED = "127.0.0.1:1"


@pytest.fixture
def fresh_database(services: LocalServices, admin: Engine) -> Iterator[str]:
    """A database without tables."""
    name = f"fresh_{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url_of(services, name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def red_lines(ran: Ran) -> dict[str, str]:
    """Faults by the name of the check, with the next step behind each."""
    assert ran.code == 1
    assert ran.stderr == ""
    found: dict[str, str] = {}
    is_wrong = False
    for mark, name, rest in (line.split(maxsplit=2) for line in ran.stdout.splitlines()):
        if mark == "wrong":
            found[name] = rest
        elif mark == "next:":
            # A remark has a next step too.
            if is_wrong:
                found[list(found)[-1]] += f" next: {name} {rest}"
            continue
        else:
            assert (mark, name in CHECKS) == ("ok", True)
        is_wrong = mark == "wrong"
    return found


@pytest.fixture
def _works(engine: Engine, settings: Settings) -> Iterator[None]:
    """A dispatcher leads, a worker lives and the endpoint is calibrated, as far as the database can tell."""
    with engine.begin() as connection:
        connection.execute(
            insert(CALIBRATIONS).values(endpoint=call_url(settings.endpoint_url), found={"version": 1})
        )
    with somebody_works(engine):
        yield


@pytest.mark.usefixtures("bucket")
def test_the_doctor_sees_that_nobody_works(cutout: Cutout) -> None:
    """Without dispatcher and worker jobs only wait: each is red, with the command that starts it."""
    found = red_lines(cutout("doctor"))
    assert list(found) == ["dispatcher", "worker"]
    assert found["dispatcher"].endswith("next: start `cutout dispatcher`")
    assert found["worker"].endswith("next: start `cutout worker`")


def test_the_doctor_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that decodes no HEIC is well, and says what to install for it."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    is_heif_decoded.cache_clear()
    check = check_formats()
    is_heif_decoded.cache_clear()
    assert (check.ok, check.name) == (True, "formats")
    assert check.found.startswith(
        "HEIC is not decoded; install the extra `heif` (pip install 'cutout[heif]')"
    )


@pytest.mark.usefixtures("bucket", "_works")
class TestTheDoctor:
    def test_finds_a_good_system_well(self, cutout: Cutout, sandbox: Sandbox) -> None:
        """One green line for each check, with the credits left, exit code 0, and nothing charged."""
        ran = cutout("doctor")
        assert (ran.code, ran.stderr) == (0, "")
        assert [line.split()[:2] for line in ran.stdout.splitlines()] == [["ok", name] for name in CHECKS]
        assert " credits\n" in ran.stdout
        assert sandbox.charges() == 0

    def test_sees_an_object_that_another_has_replaced(
        self, cutout: Cutout, engine: Engine, bucket: Bucket
    ) -> None:
        """By its hash, with the key and the job; one that is not there may have been deleted on purpose."""
        make_batch(engine, {"a": DONE, "b": DONE})
        with Session(engine) as session, session.begin():
            first, second = session.query(Job).order_by(Job.id)
            for job in (first, second):
                job.key = f"cutouts/{job.external_id}.png"
                data = job.external_id.encode() if job.external_id else b""
                job.sha256 = bucket.put_cutout(data, key=job.key, media_type="image/png", metadata={})
                job.size_bytes = len(data)
            first_id = first.id
        assert cutout("doctor").code == 0
        bucket.delete("cutouts/b.png")
        assert cutout("doctor").code == 0
        bucket.put_cutout(b"c", key="cutouts/a.png", media_type="image/png", metadata={})
        assert f"cutouts/a.png of job {first_id}" in red_lines(cutout("doctor"))["objects"]

    def test_sees_an_output_that_another_has_replaced(
        self, cutout: Cutout, engine: Engine, bucket: Bucket
    ) -> None:
        make_batch(engine, {"a": DONE})
        key = "outputs/b/a.web.webp"
        bucket.put_cutout(b"another", key=key, media_type="image/webp", metadata={})
        put_output(engine, "a", "web", OutputState.MADE, key=key)
        assert f"{key} of job {job_id_of(engine, 'a')}" in red_lines(cutout("doctor"))["objects"]

    def test_says_that_the_bucket_keeps_what_is_deleted(self, cutout: Cutout, bucket: Bucket) -> None:
        """A green line with what to do about it: keeping versions is no fault, and old ones are paid for."""
        bucket._client.put_bucket_versioning(
            Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
        )
        ran = cutout("doctor")
        assert ran.code == 0
        assert "ok     versions      the bucket keeps old versions forever" in ran.stdout
        assert "next: add a lifecycle rule that removes noncurrent versions" in ran.stdout

    def test_sees_results_that_are_late(self, cutout: Cutout, engine: Engine) -> None:
        """Of a batch that ended long ago, for whatever reason; not of one that ended just now."""
        batch = make_batch(engine, {"a": DONE})
        assert cutout("doctor").code == 0
        with engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET finished_at = now() - interval '16 minutes'"))
        found = red_lines(cutout("doctor"))
        assert list(found) == ["results"]
        assert str(batch) in found["results"]

    def test_sees_that_the_database_is_down(self, cutout: Cutout) -> None:
        """The migrations are not looked at then, and the other checks are made all the same."""
        url = make_url(cutout.environment["CUTOUT_DATABASE_URL"]).set(port=1)
        found = red_lines(
            cutout("doctor", settings={"CUTOUT_DATABASE_URL": url.render_as_string(hide_password=False)})
        )
        assert list(found) == ["database", "migrations"]
        assert "Connection refused" in found["database"]
        assert found["database"].endswith("next: start Postgres or fix CUTOUT_DATABASE_URL")

    @pytest.mark.long("waits for three servers that never answer; those that refuse are in the first tier")
    def test_waits_seconds_for_what_stands_still(self, cutout: Cutout) -> None:
        """A server that takes a connection and never answers: one line each, and nothing asks it again."""
        began = time.monotonic()
        with serving(silent) as silence:
            database = make_url(cutout.environment["CUTOUT_DATABASE_URL"]).set(port=make_url(silence).port)
            still = {
                "CUTOUT_DATABASE_URL": database.render_as_string(hide_password=False),
                "CUTOUT_REDIS_URL": silence.replace("http:", "redis:"),
                "CUTOUT_S3_ENDPOINT_URL": silence,
            }
            found = red_lines(cutout("doctor", settings=still))
        assert list(found) == ["database", "migrations", "redis", "bucket"]
        assert time.monotonic() - began < scaled(25.0)

    def test_sees_that_the_schema_is_missing(self, cutout: Cutout, fresh_database: str) -> None:
        """A fresh database is to be migrated, which the next step does."""
        fresh = {"CUTOUT_DATABASE_URL": fresh_database}
        found = red_lines(cutout("doctor", settings=fresh))
        assert list(found) == ["migrations"]
        assert found["migrations"].endswith("next: run `cutout migrate`")
        told = cutout("status", "0", settings=fresh)
        assert (told.code, "run `cutout migrate`" in told.stderr) == (2, True)
        assert cutout("migrate", settings=fresh).code == 0
        assert list(red_lines(cutout("doctor", settings=fresh))) == ["dispatcher", "worker"]

    def test_sees_that_all_calls_are_paused(self, cutout: Cutout) -> None:
        """A pause that somebody forgot is red, with the way out of it."""
        cutout("pause")
        assert red_lines(cutout("doctor")) == {
            "calls": "all calls are paused by an operator next: `cutout resume` ends the pause"
        }

    def test_says_at_which_host_results_cannot_be_fetched(self, cutout: Cutout, engine: Engine) -> None:
        """And why, so that somebody can see to it within the day that they live."""
        with engine.begin() as connection:
            storage_breaker.trip(
                connection, "results at r.example: RESULT_HOST_REFUSED: moved", of=Stop.RESULTS
            )
        found = red_lines(cutout("doctor"))
        assert list(found) == ["calls"]
        assert "paid results cannot be fetched" in found["calls"]
        assert "results at r.example: RESULT_HOST_REFUSED: moved" in found["calls"]

    def test_sees_that_cutouts_are_missing(self, cutout: Cutout, engine: Engine) -> None:
        """Many at once are bought anew only after a person has said so."""
        with Session(engine) as session, session.begin():
            for n in range(1, 5):
                buy(session, n)
            lately = "UPDATE bought_results SET missing_since = now(), missing_seen_at = now()"
            session.execute(text(lately))
        found = red_lines(cutout("doctor"))
        assert list(found) == ["cutouts"]
        assert "the bucket lacks 4 that were bought" in found["cutouts"]
        assert "cutout forget-missing" in found["cutouts"]
        forgot = cutout("forget-missing")
        assert forgot.stdout.strip() == "4 cutouts will be bought anew by the jobs that ask for them"
        assert cutout("doctor").code == 0
        assert cutout("forget-missing").code == 1

    def test_names_a_worker_that_does_not_reach_the_bucket(self, cutout: Cutout, engine: Engine) -> None:
        """By its pid and host, with what it was told."""
        with engine.begin() as connection:
            connection.execute(text("UPDATE workers SET cut_off_at = now(), cut_off_reason = 'no route'"))
            pid, host = connection.execute(text("SELECT pid, host FROM workers")).one()
        found = red_lines(cutout("doctor"))
        assert list(found) == ["worker"]
        assert f"{pid} on {host}: no route" in found["worker"]

    def test_sees_that_redis_may_evict_the_limit(self, cutout: Cutout, settings: Settings) -> None:
        """A policy that drops keys without an expiry is red, whatever the memory is now."""
        with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            try:
                found = red_lines(cutout("doctor"))
            finally:
                client.config_set("maxmemory-policy", "noeviction")
        assert list(found) == ["eviction"]
        assert "maxmemory-policy is allkeys-lru" in found["eviction"]
        assert "next: set `maxmemory-policy noeviction`" in found["eviction"]

    def test_sees_that_redis_is_down(self, cutout: Cutout) -> None:
        """The next step names the variable."""
        found = red_lines(cutout("doctor", settings={"CUTOUT_REDIS_URL": f"redis://:hidden-word@{CLOSED}/0"}))
        assert list(found) == ["redis"]
        assert found["redis"].endswith("next: start Redis or fix CUTOUT_REDIS_URL")

    def test_sees_that_the_bucket_is_missing(self, cutout: Cutout) -> None:
        """The bucket that does not exist is named, and is not made in passing."""
        for _ in range(2):
            found = red_lines(cutout("doctor", settings={"CUTOUT_S3_BUCKET": "no-such-bucket"}))
            assert list(found) == ["bucket"]
            assert "the bucket 'no-such-bucket' does not exist" in found["bucket"]
            assert "next: fix the CUTOUT_S3_ settings or create the bucket" in found["bucket"]

    def test_sees_that_s3_is_down(self, cutout: Cutout) -> None:
        """A server that does not answer is told from a bucket that is missing."""
        found = red_lines(cutout("doctor", settings={"CUTOUT_S3_ENDPOINT_URL": f"http://{CLOSED}"}))
        assert list(found) == ["bucket"]
        assert "the S3 server did not answer" in found["bucket"]

    def test_sees_that_no_endpoint_key_is_set(self, cutout: Cutout) -> None:
        """The variable is named with what it is for."""
        found = red_lines(cutout("doctor", settings={"CUTOUT_ENDPOINT_API_KEYS": ""}))
        assert list(found) == ["endpoint"]
        assert "no API key is set" in found["endpoint"]
        assert "CUTOUT_ENDPOINT_API_KEYS is missing" in found["endpoint"]

    def test_sees_that_the_endpoint_knows_no_such_key(self, cutout: Cutout) -> None:
        """The endpoint's own code is shown, the key is not."""
        found = red_lines(cutout("doctor", settings={"CUTOUT_ENDPOINT_API_KEYS": "mistyped-word"}))
        assert list(found) == ["endpoint"]
        assert "refused the key: ERROR_" in found["endpoint"]
        assert "next: check CUTOUT_ENDPOINT_API_KEYS" in found["endpoint"]

    @pytest.mark.parametrize("key", ["two words", "schlüssel"])
    def test_sees_that_the_key_is_no_key(self, cutout: Cutout, key: str) -> None:
        """A key that cannot be sent is said to be so, without being shown."""
        found = red_lines(cutout("doctor", settings={"CUTOUT_ENDPOINT_API_KEYS": key}))
        assert list(found) == ["endpoint"]
        assert "copy it again next: fix CUTOUT_ENDPOINT_URL or CUTOUT_ENDPOINT_API_KEYS" in found["endpoint"]

    def test_sees_that_the_endpoint_is_out_of_reach(self, cutout: Cutout) -> None:
        """The reason and the variable are named."""
        found = red_lines(cutout("doctor", settings={"CUTOUT_ENDPOINT_URL": f"http://{CLOSED}"}))
        assert list(found) == ["endpoint"]
        assert "Connection refused" in found["endpoint"]
        assert found["endpoint"].endswith("next: check CUTOUT_ENDPOINT_URL and the network")

    def test_sees_that_no_credits_are_left(self, cutout: Cutout, sandbox: Sandbox) -> None:
        """An account without a credit is red before a job finds out."""
        sandbox.set(credits={"spent-account": 0})
        found = red_lines(cutout("doctor", settings={"CUTOUT_ENDPOINT_API_KEYS": "spent-account"}))
        assert list(found) == ["endpoint"]
        assert found["endpoint"] == "the account has no credits next: buy credits; jobs wait until then"

    def test_lines_its_answers_up(self, cutout: Cutout) -> None:
        """The texts of green lines, red lines and next steps begin in one column."""
        ran = cutout("doctor", settings={"CUTOUT_REDIS_URL": f"redis://{CLOSED}/0"})
        lines = ran.stdout.splitlines()
        assert len(lines) == len(CHECKS) + 1
        assert all(re.fullmatch(r".{19}  \S.*", line) for line in lines)
