"""Uploads and options of batches for the console: read and bounded as those of the API are."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from anyio import from_thread
from fastapi import Request

from api.bodies.strict_json import validated
from api.console_problems import page_of
from api.problems import ProblemError
from api.schemas.batch_requests import ManifestQuery
from api.services import Services
from console import OptionError
from cutout.ingest import IngestOptions
from cutout.models import NOBODY
from cutout.outputs.recipes import RecipeError
from cutout.settings import Settings

LISTS = ("return_form", "outputs")

T = TypeVar("T")


class UploadsOf:
    """Uploads in the places, threads and reading time that those of the API have too."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(
        self, request: Request, of: uuid.UUID | None, work: Callable[[Iterator[bytes]], T], /
    ) -> T:
        """Read the request's body on a thread, in pieces for `work`. Raises PageError, and what it raises."""
        # Operators take turns as one producer does.
        owner, services = of or NOBODY, self._services
        reading = services.reading_time
        stream = Request(request.scope, reading.paced(request.receive, owner)).stream().__aiter__()

        async def next_piece() -> bytes | None:
            return await anext(stream, None)

        def pieces() -> Iterator[bytes]:
            while (piece := from_thread.run(next_piece)) is not None:
                yield piece

        try:
            with services.uploads.held(owner), reading.refusals_counted(owner):
                await reading.turn(owner)
                return await services.upload_threads.run(owner, work, pieces())
        except ProblemError as error:
            raise page_of(error, "Nothing was stored.") from None


def read_options(settings: Settings, given: Mapping[str, list[str]], producer_id: uuid.UUID) -> IngestOptions:
    """The options of a batch with a plan, by the rules of the API. Raises OptionError."""
    fields = {name: values if name in LISTS else values[0] for name, values in given.items()}
    try:
        asked = validated(ManifestQuery, fields | {"plan": True})
        return asked.to_order(asked.columns(), producer_id, settings)
    except ProblemError as error:
        raise OptionError(error.field or "", str(error.detail)) from None
    except RecipeError as error:
        raise OptionError("outputs", str(error)) from None
    except ValueError as error:
        raise OptionError("map", f"map: {error}") from None
