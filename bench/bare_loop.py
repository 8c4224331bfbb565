"""The simplest thing that does the same work: post, download, put. It keeps no state and survives nothing.

Run as a process of its own by bench.cpu_per_job, with the settings in its environment; prints the CPU seconds
of its jobs, without its start.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import httpx
from botocore.config import Config

from bench.picture import picture_of
from cutout.settings import Settings, read_settings

PATH = "/api/cutout/general/commodity-background-removal"


def main(jobs: int, threads: int, kilobytes: int) -> None:
    """Do `jobs` jobs with `threads` threads, after as many to warm up as there are threads."""
    known, picture, own = read_settings(), picture_of(kilobytes), threading.local()
    secret = known.s3_secret_key
    s3 = boto3.client(
        "s3",
        endpoint_url=known.s3_endpoint_url,
        aws_access_key_id=known.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(max_pool_connections=threads),
    )

    def work(number: int) -> None:
        client = getattr(own, "client", None)
        if client is None:
            client = own.client = httpx.Client(timeout=60.0)
        _do(client, s3, known, picture, number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
        before = os.times()
        list(pool.map(work, range(jobs)))
        after = os.times()
    print(after.user + after.system - before.user - before.system)


def _do(client: httpx.Client, s3: object, settings: Settings, picture: bytes, number: int) -> None:
    answer = client.post(
        settings.endpoint_url + PATH,
        headers={"ailabapi-api-key": settings.endpoint_api_keys[0].get_secret_value()},
        files={"image": ("a.jpg", picture, "image/jpeg")},
        data={"return_form": "whiteBK"},
    )
    result = client.get(answer.json()["data"]["image_url"])
    result.raise_for_status()
    s3.put_object(Bucket=settings.s3_bucket, Key=f"bare/{number}.jpg", Body=result.content)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
