"""The lines that can be cut: of some workers to Postgres and to the bucket, of all to the results."""

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

from local import LocalServices
from tests.support.proxy import Proxy

# Workers with lines of their own; the others go straight, as they would on other machines.
WITH_LINES = 2


@dataclass(frozen=True)
class WorkerLines:
    """A worker's ways to Postgres and to the bucket."""

    postgres: Proxy
    bucket: Proxy
    settings: dict[str, str]


class Lines:
    """Proxies for as long as the context lasts."""

    def __init__(self, services: LocalServices, sandbox_url: str) -> None:
        self._services = services
        self._sandbox_url = sandbox_url
        self.workers: list[WorkerLines] = []

    def __enter__(self) -> Self:
        with ExitStack() as context:
            self.results = context.enter_context(Proxy(_port(self._sandbox_url)))
            for _ in range(WITH_LINES):
                self.workers.append(self._worker_lines(context))
            self._context = context.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def _worker_lines(self, context: ExitStack) -> WorkerLines:
        database = make_url(self._services.database_url)
        postgres = context.enter_context(Proxy(_port(self._services.database_url)))
        bucket = context.enter_context(Proxy(_port(self._services.s3.endpoint_url)))
        through = database.set(port=_port(postgres.url)).render_as_string(hide_password=False)
        settings = {"CUTOUT_DATABASE_URL": through, "CUTOUT_S3_ENDPOINT_URL": bucket.url}
        return WorkerLines(postgres, bucket, settings)


def _port(url: str) -> int:
    port = make_url(url).port
    if port is None:
        raise ValueError(f"{url!r} names no port")
    return port
