"""Fetching a cutout by its link, which is a secret for as long as it is good."""

import hashlib
import uuid
from pathlib import Path

import httpx

from cutout_client.errors import BrokenDownloadError


def save(link: str, path: Path, *, sha256: str, timeout_s: float) -> None:
    """Write what the link gives to `path`, if it has this hash (hex). Raises BrokenDownloadError."""
    # Beside the client, which would write the link into the log and send the API's key along.
    request = httpx.Request("GET", link, extensions={"timeout": httpx.Timeout(timeout_s).as_dict()})
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    digest = hashlib.sha256()
    try:
        with unfinished.open("xb") as file, httpx.HTTPTransport() as transport:
            answer = transport.handle_request(request)
            try:
                if not answer.is_success:
                    raise BrokenDownloadError(f"the bucket answered {answer.status_code}; download it again")
                for chunk in answer.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
            finally:
                answer.close()
        if digest.hexdigest() != sha256:
            raise BrokenDownloadError(f"the cutout came with the hash {digest.hexdigest()}, not {sha256}")
        unfinished.replace(path)
    except httpx.TransportError as error:
        raise BrokenDownloadError(f"the download broke off: {type(error).__name__}") from None
    finally:
        unfinished.unlink(missing_ok=True)
