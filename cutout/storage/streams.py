"""Streams to and from the bucket: multipart uploads, and objects read in ranges."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# S3 takes 10,000 parts of at least 5 MiB: 50 GB in all.
PART_BYTES = 5_242_880


def put_parts(client: "S3Client", pieces: Iterable[bytes], *, bucket: str, key: str, media_type: str) -> None:
    """Store the pieces as one object, or nothing. Raises botocore's errors and what `pieces` raises."""
    upload = client.create_multipart_upload(
        Bucket=bucket, Key=key, ContentType=media_type, ChecksumAlgorithm="SHA256"
    )["UploadId"]
    try:
        parts: list[CompletedPartTypeDef] = []
        for number, part in enumerate(_parts(pieces), start=1):
            checksum = base64.b64encode(hashlib.sha256(part).digest()).decode()
            stored = client.upload_part(
                Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part, ChecksumSHA256=checksum
            )
            parts.append({"PartNumber": number, "ETag": stored["ETag"], "ChecksumSHA256": checksum})
        client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
    except BaseException:
        # Parts of an incomplete upload cost money until they are removed.
        with suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        raise


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= PART_BYTES:
            with memoryview(held) as view:
                part = bytes(view[:PART_BYTES])
            del held[:PART_BYTES]
            yield part
    if held:
        yield bytes(held)


PIECE_BYTES = 4_194_304

ReadRange = Callable[[int, int], bytes]
"""Reads the bytes from the first offset up to, but not including, the second."""


class _Pieces(io.RawIOBase):
    def __init__(self, size: int, read_range: ReadRange) -> None:
        self._size = size
        self._read_range = read_range
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base accepts any buffer
        end = min(self._offset + len(buffer), self._size)
        if end == self._offset:
            return 0
        piece = self._read_range(self._offset, end)
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)


def open_pieces(size: int, read_range: ReadRange) -> BinaryIO:
    """A stream that reads 4 MiB at a time and holds no connection in between."""
    return cast("BinaryIO", io.BufferedReader(_Pieces(size, read_range), PIECE_BYTES))
