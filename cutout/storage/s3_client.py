"""Connections to the S3 server, as boto3 makes them."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.handlers import add_expect_header

from cutout.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
TRIES = 3
# Somebody waits at a terminal: a server that stands still is told in seconds, not in minutes.
ANSWER_WITHIN_S = 5


def connect(
    settings: Settings, endpoint_url: str | None, connections: int, *, patient: bool = True
) -> "S3Client":
    """A client that keeps up to `connections` open; without patience it tries once, for ANSWER_WITHIN_S.

    Safe to share between threads.
    """
    secret = settings.s3_secret_key
    client: S3Client = _session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            max_pool_connections=connections,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S if patient else ANSWER_WITHIN_S,
            retries={"mode": "standard", "max_attempts": TRIES if patient else 1},
            s3={
                "addressing_style": "path" if endpoint_url else "auto",
                # The signature covers the checksum, which covers the bytes: hashing them once is enough.
                "payload_signing_enabled": False,
            },
            signature_version="s3v4",
            # Ours is SHA-256; boto3 would add a CRC of its own to every request.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    # boto3 would ask leave (Expect: 100-continue) before every body, which pays only for large ones.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


@cache
def _session() -> boto3.session.Session:
    # One for the process: each would read botocore's descriptions of S3 anew, for some 100 ms.
    core = botocore.session.get_session()
    # No time that the server says is read here, and to parse them takes two thirds of a listing.
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    return boto3.session.Session(botocore_session=core)
