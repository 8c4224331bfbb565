"""An interactive job beyond the endpoint's own time, beside the bare sequence of its steps, in turn.

`python -m bench.interactive --help` lists the options. The endpoint's time is the same for every call here,
and is subtracted from both.
"""

import argparse
import io
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

import boto3
import httpx
import psycopg
from botocore.config import Config

from bench.limit.rig import Rig, rig
from bench.picture import picture_of
from bench.table import line, verdict
from cutout.enums import FINAL_STATES, State

PATH = "/api/cutout/general/commodity-background-removal"
WARM_UP = 5
P50, P95 = 50, 95
GOALS = (2, 3)


@dataclass(frozen=True)
class Options:
    """Options: `jobs` of each kind, one by one, pictures of `kilobytes`, a call's `latency` in seconds."""

    jobs: int
    kilobytes: int
    latency: float


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    with ExitStack() as stack:
        running = stack.enter_context(rig(workers=1, latency_s=options.latency))
        running.set(latency_spread=0)
        picture = picture_of(options.kilobytes)
        bare = stack.enter_context(closing(_Bare(running, picture)))
        ours = stack.enter_context(closing(_Ours(running, picture)))
        seconds: dict[str, list[float]] = {"bare sequence": [], "ours": []}
        for number in range(options.jobs + WARM_UP):
            for name, once in {"bare sequence": bare.once, "ours": ours.once}.items():
                taken = _timed(once) - options.latency
                if number >= WARM_UP:
                    seconds[name].append(taken)
    _print(options, seconds)


class _Bare:
    """Upload, call, download, put, one commit: nothing else."""

    def __init__(self, running: Rig, picture: bytes) -> None:
        settings = running.stack.settings
        secret = settings.s3_secret_key
        self._picture, self._bucket = picture, settings.s3_bucket
        self._http = httpx.Client(timeout=60.0)
        self._call_url = settings.endpoint_url + PATH
        self._headers = {"ailabapi-api-key": settings.endpoint_api_keys[0].get_secret_value()}
        self._s3 = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(max_pool_connections=1),
        )
        url = settings.database_url.get_secret_value().replace("postgresql+psycopg", "postgresql")
        self._postgres = psycopg.connect(url)
        self._postgres.execute("CREATE TABLE IF NOT EXISTS bare (id uuid PRIMARY KEY, key text)")
        self._postgres.commit()

    def once(self) -> None:
        name = uuid.uuid4()
        self._s3.put_object(Bucket=self._bucket, Key=f"bare/{name}.in", Body=self._picture)
        answer = self._http.post(
            self._call_url, headers=self._headers, files={"image": ("a.jpg", self._picture, "image/jpeg")}
        )
        result = self._http.get(answer.json()["data"]["image_url"])
        result.raise_for_status()
        self._s3.put_object(Bucket=self._bucket, Key=f"bare/{name}.out", Body=result.content)
        self._postgres.execute("INSERT INTO bare VALUES (%s, %s)", (name, f"bare/{name}.out"))
        self._postgres.commit()

    def close(self) -> None:
        self._http.close()
        self._postgres.close()


class _Ours:
    """One POST, and one GET that waits, until the job has succeeded."""

    def __init__(self, running: Rig, picture: bytes) -> None:
        self._picture = picture
        headers = {"Authorization": f"Bearer {running.stack.api_key}"}
        self._http = httpx.Client(base_url=running.stack.api_url, headers=headers, timeout=60.0)

    def once(self) -> None:
        files = {"image": ("a.jpg", io.BytesIO(self._picture), "image/jpeg")}
        job = self._http.post("/v1/jobs", data={"priority": "interactive"}, files=files).json()
        while job["state"] not in FINAL_STATES:
            job = self._http.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).json()
        if job["state"] != State.SUCCEEDED:
            raise SystemExit(f"the job {job['id']} is {job['state']}: {job['error']}")

    def close(self) -> None:
        self._http.close()


def _timed(once: Callable[[], None]) -> float:
    began = time.monotonic()
    once()
    return time.monotonic() - began


def _print(options: Options, seconds: dict[str, list[float]]) -> None:
    print(
        f"{options.jobs} jobs one by one, {options.kilobytes} KB, ms beyond a call of {options.latency:g} s"
    )
    print("| | p50 | p95 |")
    print("|---|---|---|")
    found = {name: _percentiles(values) for name, values in seconds.items()}
    for name, values in found.items():
        print(f"| {name} | {1000 * values[0]:.0f} | {1000 * values[1]:.0f} |")
    multiples = [ours / bare for bare, ours in zip(found["bare sequence"], found["ours"], strict=True)]
    cells = (f"{one:.2f}, {verdict(one <= goal)}" for one, goal in zip(multiples, GOALS, strict=True))
    print(line("ours ÷ bare (goal 2, 3)", *cells))


def _percentiles(values: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[P50 - 1], cuts[P95 - 1]


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="jobs of each kind")
    parser.add_argument("--kilobytes", type=int, default=300, help="size of the picture")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds of a call")
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
