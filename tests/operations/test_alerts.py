"""Every alert fires in a test that makes its cause, on what the processes really serve then."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import Session

from cutout.enums import AttemptOutcome, Scope
from cutout.ingest.options import IngestOptions
from cutout.ingest.pending import request_ingest
from cutout.models.database import connect
from cutout.producers.producers import create_producer
from cutout.queue import workers
from cutout.queue.attempts import unsaved_results
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.unsaved_results import Failure
from cutout.queue.blocks.isolated_workers import cut_off
from cutout.queue.settle import RetryLimits
from cutout.storage import Bucket
from local import LocalServices
from tests.conftest import make_room, settings_of, url_of
from tests.cutout.schedules.steps import due_since, new_schedule
from tests.operations.measured import MeasuredSystem
from tests.operations.projected import Scrape, assert_all_silent, assert_fires, parsed, scrape
from tests.support.databases import Databases
from tests.support.pictures import numbered
from tests.support.plain_http import NO_TLS
from tests.support.promtool import RULES, promtool
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.system import wait_until
from worker.dispatcher.auditor import Auditor
from worker.pipeline.call_record import CallRecord
from worker.pipeline.spool import FORMAT

pytestmark = [
    pytest.mark.long(
        "runs every process and makes each cause; tests/docs/test_alerts.py has the rules on written series"
    ),
    # The first of them waits for all phases.
    pytest.mark.timeout(600),
]

ROOT = Path(__file__).parents[2]
# An overview of the database is not read again before.
FRESH_S = 11.0
PRODUCERS, REQUESTS_EACH = 8, 10
WRONG_KEYS = 200
NOT_CAUSED = {
    "CutoutSnapshotOld": "a transaction would have to be open for 10 minutes",
    "CutoutDatabaseConnectionsNearLimit": "all tests of this run share the server that would be full",
}
# The phase in which each cause is there.
CAUSED = {
    "stalled": (
        "CutoutRedisUnreachable",
        "CutoutTwoLeaders",
        "CutoutWorkerCutOff",
        "CutoutSpoolNotEmpty",
        "CutoutApiLoopLags",
        "CutoutApiRefusesMany",
        "CutoutWebhooksGivenUp",
    ),
    "frozen": ("CutoutDatabaseUnreachable", "CutoutApiThreadsTaken"),
    "thawed": ("CutoutApiSlow", "CutoutPoolWaits"),
    "audited": ("CutoutAuditFindings", "CutoutAuditRepairs"),
    "lost": (
        "CutoutProcessAbsent",
        "CutoutBucketUnreachable",
        "CutoutNoDispatcherLeads",
        "CutoutDispatcherStuck",
        "CutoutNoWorker",
        "CutoutWorkerSilent",
        "CutoutNoRenderer",
        "CutoutCutoutsMissing",
        "CutoutResultNearExpiry",
        "CutoutCopiesLag",
        "CutoutResultLost",
        "CutoutResultUnexpected",
        "CutoutLifeboatUsed",
        "CutoutCreditsRunOut",
        "CutoutAccountPaused",
        "CutoutEndpointFails",
        "CutoutCallsStopped",
        "CutoutResultsNotFetched",
        "CutoutHeldJobsGrow",
        "CutoutUnknownCharges",
        "CutoutApiFails",
        "CutoutApiErrorBudgetBurnsFast",
        "CutoutApiErrorBudgetBurnsSlowly",
        "CutoutIngesterSilent",
        "CutoutIngestsWait",
        "CutoutWebhooksWait",
        "CutoutKeyExpiresSoon",
        "CutoutScheduleLate",
    ),
}


@dataclass
class World:
    """A whole system, with a proxy before Postgres and one before Redis; `engine` goes past it."""

    system: MeasuredSystem
    engine: Engine
    bucket: Bucket
    postgres: Proxy
    redis: Proxy
    keys: list[str]
    other_database: str

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def until(self, condition: str) -> None:
        def holds() -> bool:
            with self.engine.connect() as connection:
                return bool(connection.scalar(text(condition)))

        wait_until(holds, condition, within_s=60)

    def scrape(self, *names: str) -> Scrape:
        addresses = self.system.addresses
        return scrape({name: addresses[name] for name in names or addresses})


@pytest.fixture(scope="module")
def world(
    services: LocalServices,
    databases: Databases,
    sandbox: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Every kind of process, ready, with a second database for a dispatcher that uses the wrong one."""
    promtool("--version")
    sandbox.reset()
    name, other = databases.take(), databases.take()
    direct = make_url(url_of(services, name))
    redis = httpx.URL(services.redis_url)
    with ExitStack() as stack:
        stack.callback(databases.give_back, other)
        stack.callback(databases.give_back, name)
        postgres, before_redis = (stack.enter_context(Proxy(int(port))) for port in (direct.port, redis.port))  # type: ignore[arg-type]
        through = direct.set(host="127.0.0.1", port=httpx.URL(postgres.url).port)
        prefix = uuid.uuid4().hex
        environment = services.environment() | {
            "CUTOUT_DATABASE_URL": through.render_as_string(hide_password=False),
            "CUTOUT_REDIS_URL": str(redis.copy_with(host="127.0.0.1", port=httpx.URL(before_redis.url).port)),
            "CUTOUT_REDIS_PREFIX": f"{prefix}:",
            "CUTOUT_S3_BUCKET": f"test-{prefix}",
            "CUTOUT_ENDPOINT_URL": sandbox.url,
            "CUTOUT_ENDPOINT_API_KEYS": sandbox.key,
            "CUTOUT_RESULT_HOSTS": sandbox.host,
            "CUTOUT_WORKER_THREADS": "4",
            "CUTOUT_WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
            "CUTOUT_API_DRAIN_SECONDS": "0",
        }
        bucket = Bucket(settings_of(environment))
        bucket.create()
        make_room(services, bucket.name)
        engine = connect(direct.render_as_string(hide_password=False))
        stack.callback(engine.dispose)
        with Session(engine) as session, session.begin():
            keys = [create_producer(session, f"p{n}", scopes=list(Scope))[1] for n in range(PRODUCERS)]
        system = MeasuredSystem(environment, tmp_path_factory.mktemp("alerts"))
        stack.callback(postgres.set, Mode.PASS)
        stack.enter_context(system)
        system.start("ingester", "ingester")
        system.start("renderer", "renderer", "--processes", "1")
        for each, address in system.addresses.items():
            url = f"http://{address}/readyz"
            wait_until(lambda url=url: _is_ready(url), f"{each} is ready")  # type: ignore[misc]
        yield World(system, engine, bucket, postgres, before_redis, keys, url_of(services, other))


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=10.0).is_success
    return False


@pytest.fixture(scope="module")
def phases(world: World, photo: bytes) -> dict[str, Scrape]:
    """The metrics of all processes before any trouble, and in each."""
    for n in range(3):
        _post(world, numbered(photo, n)).raise_for_status()
    world.until("SELECT count(*) = 3 FROM jobs WHERE state = 'succeeded'")
    world.until("SELECT count(*) = 0 FROM outputs WHERE state = 'waiting'")
    world.until("SELECT count(*) = 1 FROM limits")
    time.sleep(FRESH_S)
    found = {"quiet": world.scrape()}
    found["stalled"] = _stall_redis(world)
    found["calm"] = world.scrape("api")
    time.sleep(FRESH_S)
    found["frozen"], found["thawed"] = _freeze_postgres(world)
    found["audited"] = _audit(world)
    found["lost"] = _lose_all_but_the_api(world, numbered(photo, 9))
    return found


def _post(world: World, picture: bytes) -> httpx.Response:
    return world.system.client.post("/v1/jobs", files={"image": ("a.jpg", picture)})


def _stall_redis(world: World) -> Scrape:
    """Redis hangs, the API is stopped for seconds, a stranger guesses keys, and others."""
    system = world.system
    environment = system.environment
    system.environment = environment | {"CUTOUT_DATABASE_URL": world.other_database}
    system.start("wrong", "dispatcher")
    system.environment = environment
    with Session(world.engine) as session, session.begin():
        alone = workers.register(session, host="cut-off", pid=1)
        cut_off(session, alone, "no route")
        session.execute(
            text(
                "INSERT INTO deliveries (url, type, payload)"
                " VALUES ('http://127.0.0.1:1/x', 'job.done', '{}')"
            )
        )
    world.until("SELECT count(*) = 1 FROM deliveries WHERE state = 'given_up'")
    _spool_an_answer_of_another_database(Path(system.environment["CUTOUT_SPOOL_DIR"]))
    for n in range(WRONG_KEYS):
        key = system.client.headers["Authorization"].split()[1]
        wrong = key[:-4] + f"{n:04d}"
        system.client.get("/v1/jobs", headers={"Authorization": f"Bearer {wrong}"})
    wait_until(lambda: "leads" in system.log("wrong"), "the second leader")
    time.sleep(FRESH_S)
    system.freeze("api")
    time.sleep(2.0)
    world.redis.set(Mode.STALL)
    system.thaw("api")
    time.sleep(1.1)
    found = world.scrape()
    world.redis.set(Mode.PASS)
    system.kill("wrong")
    del system.addresses["wrong"]
    world.execute("DELETE FROM workers WHERE host = 'cut-off'")
    return found


def _spool_an_answer_of_another_database(directory: Path) -> None:
    record = CallRecord(
        uuid.uuid4(), 1, uuid.uuid4(), 10**9, Answer(AttemptOutcome.CHARGED), None, timedelta(hours=1)
    )
    directory.mkdir(exist_ok=True)
    (directory / "1-left.json").write_bytes(FORMAT.dump_json(record))


def _freeze_postgres(world: World) -> tuple[Scrape, Scrape]:
    """Postgres takes no byte while producers want more threads than there are; then it goes on."""
    with ThreadPoolExecutor(PRODUCERS * REQUESTS_EACH) as pool:
        world.postgres.set(Mode.STALL)
        asked = [pool.submit(_make_batch, world, key, n) for key in world.keys for n in range(REQUESTS_EACH)]
        time.sleep(1.0)
        frozen = world.scrape("api")
        world.postgres.set(Mode.PASS)
        for one in asked:
            one.result()
    return frozen, world.scrape("api")


def _make_batch(world: World, key: str, number: int) -> None:
    with suppress(httpx.TransportError):
        httpx.post(
            f"{world.system.client.base_url}/v1/batches",
            json={"name": f"b{number}"},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60.0,
            verify=NO_TLS,
        )


def _audit(world: World) -> Scrape:
    """The dispatcher's auditor, as hours pass, finds a call without an end and a held paid result."""
    world.execute(
        "INSERT INTO jobs (source, virtual_start, state, code, step, result_url, result_expires_at)"
        " VALUES ('s3://b/k', 1, 'held', 'X_Y', 'copy', 'https://r/1', now() + interval '1 hour')"
    )
    world.execute(
        "INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, begun_at)"
        " SELECT id, 1, 1, uuidv7(), (SELECT min(name) FROM accounts), '\\x00', now() - interval '1 hour'"
        " FROM jobs WHERE NOT EXISTS (SELECT FROM attempts WHERE job_id = jobs.id) ORDER BY id LIMIT 1"
    )
    hours = iter(range(0, 10**7, 3600))
    auditor = Auditor(RetryLimits(1, 0), clock=lambda: float(next(hours)))
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(20):
            auditor.tick(connection, None)  # type: ignore[arg-type]
    found = Scrape(dict(parsed(generate_latest().decode(), "dispatcher")), time.time())
    world.execute("DELETE FROM attempts WHERE image_sha256 = '\\x00'")
    world.execute("DELETE FROM jobs WHERE code = 'X_Y'")
    return found


TROUBLE = """
    UPDATE workers SET heartbeat_at = now() - interval '2 minutes';
    UPDATE renderers SET seen_at = now() - interval '1 hour';
    UPDATE bought_results SET missing_since = now(), missing_seen_at = now();
    UPDATE api_keys SET expires_at = now() + interval '2 days', last_used_at = now();
    UPDATE queue_clock SET paused_at = now();
    UPDATE accounts SET credits = 5;
    UPDATE limits SET calls_per_second = 10, circuit_until = now() + interval '1 hour', seen_at = now();
    INSERT INTO accounts (name, paused_at, pause_code, probe_at) VALUES ('b', now(), 'NO_CREDITS', now());
    INSERT INTO deliveries (url, type, payload, created_at)
    VALUES ('https://shop.example/x', 'job.done', '{}', now() - interval '1 hour');
    INSERT INTO jobs (source, virtual_start, state, queue_state, scheduled_at, step, result_url,
        result_expires_at, lifeboat_key)
    VALUES ('s3://b/k', 1, 'queued', 'delayed', now() - interval '5 minutes', 'copy', 'https://r/1',
            now() + interval '1 hour', NULL),
        ('s3://b/k', 1, 'queued', 'delayed', now() + interval '5 minutes', 'copy', 'https://r/2',
            now() + interval '1 hour', 'k');
    INSERT INTO jobs (source, virtual_start, state, queue_state) VALUES ('s3://b/k', 1, 'queued', 'ready');
    INSERT INTO jobs (source, virtual_start, state, code)
    SELECT 's3://b/k', 1, 'held', code FROM generate_series(1, 6),
        unnest(ARRAY['RESULT_EXPIRED', 'RESULT_UNEXPECTED']) code;
    INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, ended_at, unknown_at)
    SELECT id, 1, 1, uuidv7(), 'b', '\\x00', now(), now() FROM jobs WHERE code = 'RESULT_EXPIRED';
"""


def _lose_all_but_the_api(world: World, picture: bytes) -> Scrape:
    """All processes but the API are killed, time passes in the database, which is away for a moment, and the
    bucket is gone.
    """
    system = world.system
    system.kill("renderer")
    _post(world, picture).raise_for_status()
    world.until("SELECT count(*) = 4 FROM jobs WHERE state = 'succeeded'")
    for name in ("dispatcher", "worker", "ingester"):
        system.kill(name)
    with world.engine.begin() as connection:
        for statement in TROUBLE.split(";"):
            if statement.strip():
                connection.execute(text(statement))
    with Session(world.engine) as session, session.begin():
        due_since(session, new_schedule(session), datetime.now(UTC) - timedelta(hours=1))
        request_ingest(session, "https://shop.example/feed.csv", IngestOptions("feed"))
        session.execute(
            text("UPDATE ingests SET due_at = now() - interval '3 hours' WHERE finished_at IS NULL")
        )
        for _ in range(5):
            failure = Failure("r.example", "RESULT_HOST_REFUSED", "moved")
            unsaved_results.failed(session, uuid.uuid4(), datetime.now(UTC) + timedelta(hours=1), failure)
    world.postgres.set(Mode.REFUSE)
    for _ in range(5):
        assert _post(world, picture).status_code == 503
    world.postgres.set(Mode.PASS)
    _remove(world.bucket)
    # What took long to read is read again after a minute at most.
    is_read = 'cutout_calls_stopped{instance="api",job="cutout",reason="paused"}'
    wait_until(lambda: world.scrape("api").values.get(is_read) == 1, "the trouble", within_s=90)
    return world.scrape("api")


def _remove(bucket: Bucket) -> None:
    for found in bucket._client.list_objects_v2(Bucket=bucket.name).get("Contents", []):
        bucket._client.delete_object(Bucket=bucket.name, Key=found["Key"])
    bucket._client.delete_bucket(Bucket=bucket.name)


def test_a_healthy_system_is_silent(phases: dict[str, Scrape]) -> None:
    """Nobody is woken while all processes run and all stores answer."""
    assert_all_silent(phases["quiet"])


@pytest.mark.parametrize(
    ("phase", "alert"), [(phase, alert) for phase, alerts in CAUSED.items() for alert in alerts]
)
def test_an_alert_fires_in_its_trouble(phases: dict[str, Scrape], phase: str, alert: str) -> None:
    """The rule is evaluated on the scraped metrics: silent before, firing once the trouble has lasted."""
    quiet = phases["quiet"]
    if phase == "thawed":
        quiet = quiet | phases["calm"]
    assert_fires(alert, quiet, phases[phase])


def test_every_alert_is_caused_or_says_why_not() -> None:
    """No alert is forgotten."""
    caused = [alert for alerts in CAUSED.values() for alert in alerts]
    assert sorted([*caused, *NOT_CAUSED]) == sorted(RULES)


def test_what_is_asked_for_is_served(world: World, phases: dict[str, Scrape]) -> None:
    """Each metric of an alert or a panel was served by a process in one of the phases."""
    del world
    served = set().union(*(scraped.names for scraped in phases.values()))
    panels = json.loads((ROOT / "docs" / "grafana" / "cutout.json").read_text())["panels"]
    asked = [rule["expr"] for rule in RULES.values()]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    assert {name for each in asked for name in re.findall(r"\bcutout_\w+", each)} <= served
