"""The sandbox as a process: its command line, its start and its end."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.arguments import parse_arguments
from tests.sandbox.client import Client, error_code
from tests.support.machine import scaled

COMMAND = [sys.executable, "-m", "sandbox"]


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a sandbox of its own; gives the process and its base URL."""
    with subprocess.Popen([*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()


class TestEnd:
    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
    def test_is_graceful_though_a_call_hangs(self, picture: bytes, stop: signal.Signals) -> None:
        """A signal ends the process with exit code 0 in seconds; the hung call gets no answer."""
        answers: list[bytes] = []
        with started("--latency", "0", "--key", "k=9") as (process, url):
            client = Client(url, "k")
            with client.http:
                client.fault("hang", seconds=60)
                hung = threading.Thread(target=lambda: answers.append(client.raw_answer(picture, timeout=20)))
                hung.start()
                while not client.read("stats")["in_flight"]:
                    time.sleep(0.02)
                process.send_signal(stop)
                assert process.wait(scaled(8)) == 0
                hung.join()
        assert answers == [b""]

    def test_lets_a_call_in_its_latency_finish(self, picture: bytes) -> None:
        """A call that is being worked on is answered before the process ends."""
        statuses: list[int] = []
        with started("--latency", "0.6", "--latency-spread", "0", "--key", "k=9") as (process, url):
            client = Client(url, "k")
            with client.http:
                call = threading.Thread(target=lambda: statuses.append(client.call(picture).status_code))
                call.start()
                while not client.read("stats")["in_flight"]:
                    time.sleep(0.02)
                process.terminate()
                assert process.wait(scaled(8)) == 0
                call.join()
        assert statuses == [200]


class TestOptions:
    def test_set_what_the_control_routes_show(self, picture: bytes) -> None:
        """Every option arrives in the settings, and the keys become accounts."""
        options = (
            "--latency=0.01 --latency-spread=0.5 --url-lifetime=60 --envelope=newest --statuses=before-2026 "
            "--calls-per-second=50 --calls-in-flight=9 --key=rich=3 --key=poor=0 --seed=1"
        )
        with started(*options.split()) as (_, url):
            client = Client(url, "poor")
            with client.http:
                assert client.read("settings") == {
                    "latency": 0.01,
                    "latency_spread": 0.5,
                    "url_lifetime": 60,
                    "envelope": "newest",
                    "statuses": "before-2026",
                    "results_url": None,
                    "calls_per_second": 50,
                    "calls_in_flight": 9,
                    "credits": {"rich": 3, "poor": 0},
                }
                assert error_code(client.call(picture)) == "ERROR_NOT_ENOUGH_CREDITS"

    def test_default_to_one_rich_account(self) -> None:
        """Without --key there is `sandbox-key` with a million credits."""
        with started() as (_, url):
            client = Client(url, "sandbox-key")
            with client.http:
                assert client.read("settings")["credits"] == {"sandbox-key": 1_000_000}

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (["--port", "0", "--host", "0.0.0.0"], "--allow-remote"),  # noqa: S104 - it must be refused
            (["--port", "0", "--key", "no-credits"], "KEY=CREDITS"),
            (["--port", "0", "--latency", "-1"], "latency"),
            ([], "--port"),
        ],
    )
    def test_that_are_wrong_end_it_with_a_reason(
        self, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
    ) -> None:
        """A wrong command line ends with exit code 2 and names what to change."""
        with pytest.raises(SystemExit, match="2"):
            parse_arguments(options)
        assert reason in capsys.readouterr().err

    def test_may_open_it_to_other_machines_if_meant(self) -> None:
        """--allow-remote permits a --host that is not loopback."""
        assert parse_arguments(["--port", "0", "--host", "0.0.0.0", "--allow-remote"]).host == "0.0.0.0"  # noqa: S104 - the point

    def test_are_taught_by_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        """--help shows how to call it and how to order a fault."""
        with pytest.raises(SystemExit, match="0"):
            parse_arguments(["--help"])
        shown = capsys.readouterr().out
        assert "ailabapi-api-key: sandbox-key" in shown
        assert "/sandbox/faults" in shown
