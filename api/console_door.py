"""The API's side of the console: what both share, handed over."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial

from fastapi import FastAPI
from sqlalchemy import Engine

from api.client_address import client_address
from api.console_downloads import DownloadsOf
from api.console_uploads import UploadsOf, read_options
from api.key_cache import SHAPE, Keys, TooManyMissesError
from api.services import Services
from console import Handed, KnownKey, TooManyTriesError, may_look, open_console, router
from cutout.monitoring.check import Check
from cutout.monitoring.doctor import all_checks
from cutout.producers.api_keys import OperatorKey, hash_of
from cutout.storage import Bucket
from migrations.run import pending

LINK_SECONDS = 300


def mount_console(app: FastAPI) -> None:
    """Add the console's routes to the app."""
    app.include_router(router)


@asynccontextmanager
async def console_opened(app: FastAPI, services: Services) -> AsyncIterator[None]:
    """The console while the context lasts, if the settings have it."""
    if not services.settings.console:
        yield
        return
    app.state.console = open_console(_handed(services))
    try:
        yield
    finally:
        app.state.console.close()


class TriesOf:
    """Tries that are counted together with those of API keys."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def take(self, address: str, /) -> None:
        """Count one. Raises TooManyTriesError."""
        try:
            self._keys.take_try(address)
        except TooManyMissesError as error:
            raise TooManyTriesError(error.wait_s) from None

    def give_back(self, address: str, /) -> None:
        """Count it no more."""
        self._keys.give_back_try(address)


def _handed(services: Services) -> Handed:
    async def find_key(text: str, address: str) -> KnownKey | None:
        if not SHAPE.fullmatch(text):
            return None
        key_sha256 = hash_of(text)
        try:
            if not await services.keys.is_valid(key_sha256, address):
                return None
        except TooManyMissesError as error:
            raise TooManyTriesError(error.wait_s) from None
        known = await services.keys.get(key_sha256, since=0.0)
        if known is None:
            return None
        services.last_use.note(known.id)
        # An operator's key belongs to no producer that could be suspended.
        suspended = not isinstance(known, OperatorKey) and known.suspended
        return KnownKey(known.id, may_look=may_look(known.scopes), suspended=suspended)

    def wait_for(key_id: uuid.UUID) -> float:
        return services.limit.wait_for(key_id.bytes)

    def check_all(engine: Engine) -> list[Check]:
        with closing(Bucket(services.settings, connections=1, patient=False)) as bucket:
            return list(all_checks(services.settings, engine, bucket, pending=pending))

    return Handed(
        settings=services.settings,
        find_key=find_key,
        tries=TriesOf(services.keys),
        count=services.counting.of,
        wait_for=wait_for,
        address_of=client_address,
        link=lambda key: services.bucket.presign_public(key, seconds=LINK_SECONDS),
        bucket=services.bucket,
        upload=UploadsOf(services),
        downloads=DownloadsOf(services),
        read_options=partial(read_options, services.settings),
        check_all=check_all,
    )
