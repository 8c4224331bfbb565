"""Listings of a bucket, page by page: each page is parsed in C, while boto3 asks for the next one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET  # nosec B405

from botocore.handlers import _handle_200_error  # type: ignore[attr-defined]

from cutout.storage.storage_errors import StorageError

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_s3 import S3Client

BEFORE_PARSE = "before-parse.s3.*"
OPERATION = "ListObjectsV2"
RESULT, ERROR = "ListBucketResult", "Error"
OK = 200


class ListedObject(NamedTuple):
    """An object in a listing."""

    key: str
    size: int
    etag: str


class PageEntry(NamedTuple):
    """An object in one page of a listing; `modified` is when it was written, as the server writes times."""

    key: str
    size: int
    modified: str

    @property
    def modified_at(self) -> datetime:
        """When it was written; ValueError unless the server writes times in ISO 8601."""
        return datetime.fromisoformat(self.modified)


def prepare(client: "S3Client") -> None:
    """Let this client parse the objects of its listings by `read_contents`."""
    events = client.meta.events
    # botocore looks for an error in each body, which it parses for that: it gets what is left of it.
    events.unregister(BEFORE_PARSE, _handle_200_error)
    events.register_first(BEFORE_PARSE, read_contents)
    events.register_first(BEFORE_PARSE, _handle_200_error)


def read_contents(
    operation_model: "OperationModel",
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    """Take the objects out of the body of a listing, and leave the rest of it to botocore.

    botocore goes through each object by its description of S3, which is most of a listing's CPU. It would
    parse the body by the same parser, which resolves no external entities and bounds the others.

    Raises StorageError for a body that is no listing: botocore would read it as the end of one, and what is
    not listed counts as gone.
    """
    if operation_model.name != OPERATION or response_dict["status_code"] != OK:
        return
    try:
        root = ET.fromstring(response_dict["body"])  # noqa: S314 - see above  # nosec B314
        if root.tag == ERROR:
            return
        objects, rest = _divided(root, root.tag.removesuffix(RESULT))
    except (ET.ParseError, ValueError) as error:
        raise StorageError(f"the S3 server answered a listing with something else: {error}") from None
    root[:] = rest
    response_dict["body"] = ET.tostring(root)
    if objects:
        customized_response_dict["Contents"] = objects


def _divided(root: "ET.Element", space: str) -> tuple[list[dict[str, Any]], list["ET.Element"]]:
    """Objects of a listing and its other elements, whose names begin with `space`. Raises ValueError."""
    if root.tag == space:
        raise ValueError(f"a document <{space[:40]}>")
    key, size, etag, modified = (f"{space}{name}" for name in ("Key", "Size", "ETag", "LastModified"))
    objects, rest = [], []
    for element in root:
        if element.tag != f"{space}Contents":
            rest.append(element)
            continue
        find = element.findtext
        objects.append(
            {
                "Key": find(key) or "",
                "Size": int(find(size) or ""),
                "ETag": find(etag) or "",
                "LastModified": find(modified) or "",
            }
        )
    return objects, rest


def list_page(client: "S3Client", bucket: str, prefix: str, after: str) -> list[PageEntry]:
    """The first objects, a thousand at most, that begin with `prefix` and whose key is behind `after`."""
    objects = client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after).get("Contents", [])
    return [PageEntry(found["Key"], found["Size"], str(found["LastModified"])) for found in objects]


def listed(client: "S3Client", bucket: str, prefix: str) -> Iterator[ListedObject]:
    """All objects that begin with `prefix`, in the order of their keys. At most two pages are in memory."""
    pages = iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    pool = ThreadPoolExecutor(1, "listing")
    try:
        coming = pool.submit(next, pages, None)
        while page := coming.result():
            coming = pool.submit(next, pages, None)
            for found in page.get("Contents", []):
                yield ListedObject(found["Key"], found["Size"], found.get("ETag", ""))
    finally:
        # Whoever stops early does not wait for a page that nobody needs.
        pool.shutdown(wait=False, cancel_futures=True)
