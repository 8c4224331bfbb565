"""Download of a cutout by its link, which is a secret as long as it works."""

import hashlib
import uuid
from pathlib import Path

import httpx

from cutout_client.errors import BrokenDownloadError


def save(link: str, path: Path, *, sha256: str, timeout_s: float) -> None:
    """Download the link to `path` and check the hash (hex). Raises BrokenDownloadError."""
    # Not by the client, which would log the link and send the API key with it.
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
