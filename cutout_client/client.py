"""The API's routes as methods. Each may be called again after any error; nothing is done twice."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from cutout_client.downloads import save
from cutout_client.errors import NotDoneError, error_of
from cutout_client.retries import Retries
from cutout_client.views import Batch, Job, NewJob, batch_of, job_of

TIMEOUT_S = 30.0
LONGEST_LOOK_S = 30
# For an API that answers at once although it was asked to wait.
SHORTEST_REST_S = 0.5

Image = bytes | BinaryIO | str | Path


class Client:
    """Client of a producer for the API. Threads may share it. Close it, or use it in a `with`."""

    def __init__(
        self, url: str, key: str, *, retries: Retries | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._retries = retries or Retries()
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "User-Agent": "cutout-client"},
            timeout=timeout_s,
        )

    def enqueue(
        self,
        *,
        source_url: str | None = None,
        image: Image | None = None,
        external_id: str | None = None,
        return_form: str = "rgba",
        priority: str = "normal",
        batch_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Enqueue one picture: its address, or the picture as bytes, an open file or a path.

        The request has an effect once, however often this client sends it. To send it again yourself, for
        example after a restart, pass the same `idempotency_key`, such as an order's number, within 24 hours.
        """
        if (source_url is None) == (image is None):
            raise ValueError("give either `source_url` or `image`")
        options = {
            "external_id": external_id,
            "return_form": return_form,
            "priority": priority,
            "batch_id": batch_id,
        }
        asked = {name: value for name, value in options.items() if value is not None}
        key = idempotency_key or str(uuid.uuid4())
        if image is None:
            return job_of(self._post("/v1/jobs", key, json=asked | {"source_url": source_url}))
        with _opened(image) as body:
            return job_of(self._post("/v1/jobs", key, data=asked, files={"image": ("image", body)}))

    def create_batch(
        self,
        name: str,
        jobs: Iterable[NewJob] = (),
        *,
        return_form: str = "rgba",
        priority: str = "normal",
        budget: int | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Enqueue a list of pictures, all or none; or make an empty batch for `enqueue`."""
        asked: dict[str, Any] = {
            "name": name,
            "return_form": return_form,
            "priority": priority,
            "jobs": [_without_none(job) for job in jobs],
        }
        if budget is not None:
            asked["budget"] = budget
        return batch_of(self._post("/v1/batches", idempotency_key or str(uuid.uuid4()), json=asked))

    def get(self, job_id: str) -> Job:
        """A job as it is now."""
        return job_of(self._get(f"/v1/jobs/{_id(job_id)}").json())

    def get_batch(self, batch_id: str) -> Batch:
        """A batch as it is now."""
        return batch_of(self._get(f"/v1/batches/{_id(batch_id)}").json())

    def wait(self, job_id: str, *, timeout_s: float = 600.0) -> Job:
        """Wait until the job is final or held. Raises NotDoneError after `timeout_s`; the job continues."""
        ends_at = time.monotonic() + timeout_s
        while True:
            began = time.monotonic()
            seconds = max(0, min(LONGEST_LOOK_S, int(ends_at - began)))
            answer = self._get(f"/v1/jobs/{_id(job_id)}", params={"wait": seconds})
            job = job_of(answer.json())
            if not job.needs_nobody:
                return job
            if time.monotonic() >= ends_at:
                raise NotDoneError(f"the job {job_id} is {job.state} after {timeout_s:g} s; wait again")
            rest = SHORTEST_REST_S - (time.monotonic() - began)
            time.sleep(max(0.0, min(rest, ends_at - time.monotonic())))

    def results(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """Yield the result of each job of a batch, in the order enqueued, while the answer is read."""
        request = self._http.build_request(
            "GET", f"/v1/batches/{_id(batch_id)}/results", params={"format": "ndjson"}
        )
        answer = self._retries.send(lambda: self._http.send(request, stream=True))
        try:
            if not answer.is_success:
                answer.read()
                raise error_of(answer)
            for line in answer.iter_lines():
                yield json.loads(line)
        finally:
            answer.close()

    def download(self, job_id: str, to: str | Path) -> Path:
        """Download a job's cutout and check its hash. The file is whole or not there."""
        result = self.get(job_id).result
        answer = self._get(f"/v1/jobs/{_id(job_id)}/result", expect=httpx.codes.TEMPORARY_REDIRECT)
        path = Path(to)
        sha256 = result.sha256 if result else ""
        save(answer.headers["location"], path, sha256=sha256, timeout_s=self._timeout_s)
        return path

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(
        self, path: str, *, params: Mapping[str, Any] | None = None, expect: int = httpx.codes.OK
    ) -> httpx.Response:
        # A request that waits is answered at its end.
        timeout = self._timeout_s + (params or {}).get("wait", 0)
        answer = self._retries.send(lambda: self._http.get(path, params=params, timeout=timeout))
        if answer.status_code != expect:
            raise error_of(answer)
        return answer

    def _post(self, path: str, key: str, **body: Any) -> Any:
        def send() -> httpx.Response:
            for _, file in body.get("files", {}).values():
                file.seek(0)
            return self._http.post(path, headers={"Idempotency-Key": key}, **body)

        answer = self._retries.send(send)
        if answer.status_code != httpx.codes.CREATED:
            raise error_of(answer)
        return answer.json()


@contextmanager
def _opened(image: Image) -> Iterator[BinaryIO]:
    """The picture as a file that can be read more than once."""
    if isinstance(image, str | Path):
        with Path(image).open("rb") as file:
            yield file
    elif isinstance(image, bytes):
        yield BytesIO(image)
    else:
        yield image


def _without_none(job: NewJob) -> dict[str, str]:
    asked = {"external_id": job.external_id, "source_url": job.source_url}
    return asked | ({"return_form": job.return_form} if job.return_form else {})


def _id(text: str) -> str:
    """Check an id before it goes into an address. Raises ValueError for `../keys` and the like."""
    return str(uuid.UUID(text))
