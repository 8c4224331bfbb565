"""Clients of the S3 server, made by boto3."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.handlers import add_expect_header

from cutout.settings import Settings
from cutout.storage.listed_objects import prepare

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
TRIES = 3
# A person waits at a terminal: a server that does not answer is reported in seconds, not in minutes.
ANSWER_WITHIN_S = 5


def connect(
    settings: Settings, endpoint_url: str | None, connections: int, *, patient: bool = True
) -> "S3Client":
    """A client that keeps up to `connections` open; unless `patient`, it tries once, for ANSWER_WITHIN_S.

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
                # The signature covers the checksum, which covers the bytes: one hash is enough.
                "payload_signing_enabled": False,
            },
            signature_version="s3v4",
            # The checksum is SHA-256; boto3 would add a CRC to every request.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    # boto3 would send Expect: 100-continue before every body, which pays only for large ones.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    prepare(client)
    return client


@cache
def _session() -> boto3.session.Session:
    # One for the process: each session reads botocore's descriptions of S3, for some 100 ms.
    core = botocore.session.get_session()
    # Parsing times takes two thirds of a listing; PageEntry parses the one that is used, and only if it is.
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    return boto3.session.Session(botocore_session=core)
