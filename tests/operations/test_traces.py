import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.operations.collector import Collector
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until

STAGES = ["prepare", "slot", "turn", "call", "copy"]
SHOPS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# redis-py loads what is for metrics by itself, where it is installed.
WHAT_SENDS = "[m for m in sys.modules if m.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))]"
SHOPS_SPAN = "00f067aa0ba902b7"


@pytest.mark.usefixtures("bucket")
class TestATrace:
    def test_leads_from_the_producers_span_to_the_copy(
        self, environment: dict[str, str], sandbox: Sandbox, photo: bytes, tmp_path: Path
    ) -> None:
        """POST, job and its stages hang together across processes, and no span holds a secret."""
        with Collector() as collector:
            with System(environment | {"CUTOUT_TRACES_URL": collector.url}, tmp_path) as system:
                job = system.client.post(
                    "/v1/jobs",
                    files={"image": ("a.jpg", photo)},
                    headers={"traceparent": f"00-{SHOPS_TRACE}-{SHOPS_SPAN}-01"},
                ).json()["id"]
                system.client.get(f"/v1/jobs/{job}")
                system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
                key = system.client.headers["authorization"].split()[1]
            # What was not sent yet is sent when a process ends.
            wait_until(lambda: bool(collector.named("job")), "the job's span")
        assert sorted(span.name for span in collector.spans) == sorted(["POST /v1/jobs", "job", *STAGES])
        assert {span.trace_id.hex() for span in collector.spans} == {SHOPS_TRACE}
        ((posted,), (carried,)) = collector.named("POST /v1/jobs"), collector.named("job")
        assert posted.parent_span_id.hex() == SHOPS_SPAN
        assert carried.parent_span_id == posted.span_id
        stages = sorted((s for s in collector.spans if s.name in STAGES), key=_begin)
        assert [stage.name for stage in stages] == STAGES
        assert {stage.parent_span_id for stage in stages} == {carried.span_id}
        assert [a.value.string_value for a in carried.attributes if a.key == "cutout.job_id"] == [job]
        for secret in (sandbox.key, key, "/results/", "Signature="):
            assert all(secret.encode() not in body for body in collector.bodies)

    @pytest.mark.long(
        "waits out an exporter's time limit; test_leads_from_the_producers_span_to_the_copy sends traces"
    )
    def test_that_nobody_takes_holds_nothing_up(
        self, environment: dict[str, str], photo: bytes, tmp_path: Path
    ) -> None:
        """Without its collector the system works, and ends when asked."""
        settings = {"CUTOUT_TRACES_URL": "http://127.0.0.1:1/v1/traces"}
        with System(environment | settings, tmp_path) as system:
            system.client.post("/v1/jobs", files={"image": ("a.jpg", photo)}).raise_for_status()
            system.until("SELECT bool_and(state = 'succeeded') FROM jobs")
            system.end("worker", within_s=20)
            system.end("api", within_s=20)
            assert system.scalar("SELECT count(*) FROM jobs WHERE trace IS NOT NULL") == 1

    @pytest.mark.long("starts a process anew to see its imports")
    def test_unasked_for_costs_nothing(
        self, environment: dict[str, str], photo: bytes, tmp_path: Path
    ) -> None:
        """Without the setting no job has a trace, and nothing that could send one is loaded."""
        with System(environment, tmp_path) as system:
            headers = {"traceparent": f"00-{SHOPS_TRACE}-{SHOPS_SPAN}-01"}
            system.client.post("/v1/jobs", files={"image": ("a.jpg", photo)}, headers=headers)
            system.until("SELECT bool_and(state = 'succeeded') AND count(trace) = 0 FROM jobs")
            loaded = subprocess.run(
                [sys.executable, "-c", f"import sys, api.app, worker.dispatcher.loop; print({WHAT_SENDS})"],
                env=system.environment,
                capture_output=True,
                text=True,
                check=True,
            )
        assert loaded.stdout == "[]\n"


def _begin(span: Span) -> int:
    return span.start_time_unix_nano
