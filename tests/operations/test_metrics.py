import platform
import time
from pathlib import Path

import pytest

import cutout
from tests.operations.measured import MeasuredSystem, Samples
from tests.support.sandbox import Sandbox
from tests.support.system import wait_until

# That each needs.
STORES = {
    "api": {"database", "bucket"},
    "worker": {"database", "bucket", "redis"},
    "dispatcher": {"database", "redis"},
}


def assert_is(name: str, found: Samples) -> None:
    """A process says what it is, since when, and how it uses its connections; no counter is there twice."""
    build = ("cutout_build_info", name, platform.python_version(), "abc123", cutout.__version__)
    assert found[build] == 1
    assert 0 < time.time() - found["process_start_time_seconds",] < 600
    pool = f"cutout-{name}"
    in_use = found["cutout_database_pool_checked_out", pool]
    assert 0 <= in_use <= found["cutout_database_pool_connections", pool]
    assert found["cutout_database_pool_checkouts_total", pool] > 0
    assert found["cutout_database_pool_wait_seconds_total", pool] > 0
    stores = {labels[0] for each, *labels in found if each == "cutout_store_up" and found[each, *labels] == 1}
    assert stores == STORES[name]
    assert not [each for each, *_ in found if each.endswith("_created")]


@pytest.mark.usefixtures("bucket")
def test_the_metrics_of_all_processes_tell_of_a_batch(
    environment: dict[str, str], photo: bytes, tmp_path: Path
) -> None:
    """Requests, messages, calls, copies and what is left of credits, each where it is known, add up."""
    with MeasuredSystem(environment | {"CUTOUT_REVISION": "abc123"}, tmp_path) as system:
        batch = system.client.post("/v1/batches", json={"name": "measured"}).json()["id"]
        for n, picture in enumerate([photo, photo, photo, b"no picture"]):
            system.client.post(
                "/v1/jobs",
                files={"image": ("a.jpg", picture)},
                data={"batch_id": batch, "external_id": str(n)},
            ).raise_for_status()
        counts = system.finished(batch)
        assert (counts["succeeded"], counts["failed"]) == (3, 1)
        system.client.get("/v1/jobs/no-job")
        system.until("SELECT count(*) = 1 FROM accounts WHERE credits IS NOT NULL")
        system.until("SELECT count(*) = 1 FROM limits")
        api, worker, dispatcher = (system.samples(name) for name in ("api", "worker", "dispatcher"))
        account = system.scalar("SELECT name FROM accounts")
        stored = system.scalar("SELECT sum(size_bytes) FROM jobs")
        producer = str(system.scalar("SELECT producer_id FROM batches"))
        now = time.time()

    assert api["cutout_http_requests_total", "POST", "/v1/jobs", "201"] == 4
    assert api["cutout_http_request_duration_seconds_count", "POST", "/v1/jobs"] == 4
    assert api["cutout_http_requests_total", "GET", "/v1/jobs/{job_id}", "422"] == 1
    assert api["cutout_http_problems_total", "422", "invalid-request"] == 1
    for name, found in (("api", api), ("worker", worker), ("dispatcher", dispatcher)):
        assert_is(name, found)

    assert worker["cutout_calls_total", "", "charged", "ok"] == 3
    assert worker["cutout_jobs_settled_total", "", "succeeded"] == 3
    assert worker["cutout_jobs_settled_total", "IMAGE_NOT_A_PICTURE", "fail"] == 1
    assert worker["cutout_stage_duration_seconds_count", "prepare"] == 4
    assert {
        worker["cutout_stage_duration_seconds_count", stage] for stage in ("slot", "turn", "call", "copy")
    } == {3}
    assert worker["cutout_copied_bytes_total",] == stored
    assert worker["cutout_jobs_in_hand",] == 0
    assert worker["cutout_producer_calls_total", "charged", producer] == 3
    assert worker["cutout_spool_files",] == worker["cutout_spool_bytes",] == 0
    assert worker["cutout_worker_threads",] == 8

    assert dispatcher["cutout_dispatcher_is_leader",] == 1
    assert dispatcher["cutout_dispatched_jobs_total", "call"] == 4
    assert dispatcher["cutout_dispatcher_tick_duration_seconds_count",] > 1

    assert api["cutout_database_up",] == 1
    assert api["cutout_dispatcher_has_leader",] == 1
    assert api["cutout_workers",] == 1
    assert api["cutout_workers_silent",] == 0
    assert 0 <= now - api["cutout_workers_oldest_heartbeat_timestamp_seconds",] < 30
    assert api["cutout_ledger_recent_calls", "charged"] == 3
    assert api["cutout_account_credits", account] > 0
    assert api["cutout_account_paused", account, ""] == 0
    assert api["cutout_limit_calls", account] > 0
    assert api["cutout_jobs", "ready", "queued", "call"] == 0


@pytest.mark.long("runs everything; the batch's test has the metrics")
@pytest.mark.usefixtures("bucket")
def test_a_refusal_is_counted_by_verdict_and_code(
    environment: dict[str, str], sandbox: Sandbox, photo: bytes, tmp_path: Path
) -> None:
    """A call that the endpoint refused cost nothing and is tried again; its code is named."""
    sandbox.fault("code", code="PROCESSING_FAILURE", next=1)
    with MeasuredSystem(environment, tmp_path) as system:
        system.client.post("/v1/jobs", files={"image": ("a.jpg", photo)}).raise_for_status()
        system.until("SELECT count(*) = 1 FROM jobs WHERE state = 'succeeded'", without_rests=True)
        worker = system.samples("worker")
    assert worker["cutout_calls_total", "PROCESSING_FAILURE", "not_charged", "retry"] == 1
    assert worker["cutout_calls_total", "", "charged", "ok"] == 1
    assert worker["cutout_jobs_settled_total", "PROCESSING_FAILURE", "retry"] == 1


@pytest.mark.long("starts every process beside a port that is taken")
@pytest.mark.usefixtures("bucket")
def test_an_address_that_is_taken_keeps_nobody_from_work(environment: dict[str, str], tmp_path: Path) -> None:
    """A second worker at the address of the first works without metrics, and serves them once it is free."""
    with MeasuredSystem(environment, tmp_path) as system:
        taken = system.addresses["worker"]
        system.environment = system.environment | {"CUTOUT_METRICS_ADDRESS": taken}
        super(MeasuredSystem, system).start("second", "worker")
        system._wait_for_worker("second")
        assert f"metrics cannot be served at {taken}" in system.log("second")
        system.end("worker")
        wait_until(
            lambda: f"metrics are served at {taken}" in system.log("second"), "its metrics", within_s=15
        )
        assert system.samples("worker")["cutout_worker_threads",] == 8
