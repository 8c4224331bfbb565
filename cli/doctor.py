"""Is everything there that a job needs? One line each."""

import tempfile
from collections.abc import Iterator

import typer
from sqlalchemy import Engine

from cli.console import Exit, out
from cli.database import open_database
from cutout.billing.accounts import account_name
from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.credits import usable
from cutout.endpoint.endpoint_errors import EndpointError
from cutout.images.kinds import HEIF_REMEDY, is_heif_decoded
from cutout.ingest.sources.temporary_space import free_bytes, needed_bytes
from cutout.monitoring.bucket_contents import check_objects, check_results
from cutout.monitoring.check import Check
from cutout.monitoring.domain_checks import check_audit, check_schedules
from cutout.monitoring.health import check_services
from cutout.monitoring.redis_health import check_redis_setup
from cutout.settings import Settings, SettingsError, read_settings
from cutout.storage import Bucket
from migrations.run import pending


def doctor() -> None:
    """Check all that a job needs, and say what to do.

    It checks database, Redis, clocks, bucket, formats, endpoint, credits and schedules.
    """
    known, engine = read_settings(), open_database()
    bucket = Bucket(known, connections=1, patient=False)
    well = True
    for check in _look(known, engine, bucket):
        _show(check)
        well = well and check.ok
    if not well:
        raise typer.Exit(Exit.FAILED)


def _look(settings: Settings, engine: Engine, bucket: Bucket) -> Iterator[Check]:
    """Each check as soon as it is made; none that would wait for what was just found not to answer."""
    wrong = set()
    for check in check_services(settings, engine, bucket, pending=pending):
        yield check
        if not check.ok:
            wrong.add(check.name)
    has_database = not wrong & {"database", "migrations"}
    if has_database and "bucket" not in wrong:
        yield from check_objects(engine, bucket)
    if "database" not in wrong:
        yield from check_redis_setup(settings, engine)
    yield check_formats()
    yield check_archives(settings)
    yield from check_endpoint(settings)
    if has_database:
        yield from check_schedules(settings, engine)
        yield from check_results(engine)
        yield from check_audit(engine)


def _show(check: Check) -> None:
    mark = "[green]ok[/]   " if check.ok else "[red]wrong[/]"
    out.print(f"{mark}  {check.name:12}", end="  ")
    out.print(check.found, markup=False)
    if check.remedy:
        out.print(f"{'':21}next: {check.remedy}", markup=False)
    out.file.flush()


def check_formats() -> Check:
    """Whether pictures of phones (HEIC) are decoded here; a worker's machine may have other packages."""
    found = "HEIC is decoded" if is_heif_decoded() else f"HEIC is not decoded; {HEIF_REMEDY}"
    return Check("formats", ok=True, found=found, needed=False)


def check_archives(settings: Settings) -> Check:
    """Whether an ingester on this machine has room for archives; another machine may have another disk."""
    free, needed = free_bytes(), needed_bytes(settings)
    found = f"{tempfile.gettempdir()} has {free:,} bytes free; an ingester here needs up to {needed:,}"
    see_to = "if one runs here: make room, set TMPDIR, or set a smaller CUTOUT_MAX_ARCHIVE_BYTES"
    remedy = "" if free >= needed else see_to
    return Check("archives", ok=True, found=found, remedy=remedy, needed=False)


def check_endpoint(settings: Settings) -> Iterator[Check]:
    """Ask for each account's credits, which costs none."""
    try:
        keys = [key.get_secret_value() for key in settings.require_endpoint_api_keys()]
    except SettingsError as error:
        yield Check("endpoint", ok=False, found="no API key is set", remedy=str(error))
        return
    for key in keys:
        yield _check_account("endpoint" if len(keys) == 1 else account_name(key), settings.endpoint_url, key)


def _check_account(name: str, url: str, api_key: str) -> Check:
    try:
        with EndpointClient(url, api_key) as client:
            answer = client.credits()
    except ValueError as error:
        remedy = "fix CUTOUT_ENDPOINT_URL or CUTOUT_ENDPOINT_API_KEYS, whichever it names"
        return Check(name, ok=False, found=str(error), remedy=remedy)
    except EndpointError as error:
        return Check(name, ok=False, found=str(error), remedy="check CUTOUT_ENDPOINT_URL and the network")
    if isinstance(answer, Refused):
        remedy = "check CUTOUT_ENDPOINT_API_KEYS against the endpoint's own pages"
        return Check(name, ok=False, found=f"refused the key: {answer.code} {answer.message}", remedy=remedy)
    left = sum(pool.balance or 0 for pool in usable(answer))
    if left < 1:
        return Check(
            name, ok=False, found="the account has no credits", remedy="buy credits; jobs wait until then"
        )
    return Check(name, ok=True, found=f"{left:,.0f} credits")
