"""Is everything there that a job needs? One line each."""

from collections.abc import Iterator

import typer

from cli.console import Exit, out
from cli.database import open_database
from jobs.health import Check, check_services
from jobs.settings import Settings, SettingsError, settings
from jobs.storage import Bucket
from migrations.run import pending
from worker.endpoint.answer import Refused
from worker.endpoint.client import EndpointClient
from worker.endpoint.errors import EndpointError


def doctor() -> None:
    """Check database, schema, Redis, bucket, the endpoint's key and credits; say what to do about each."""
    known = settings()
    checks = [*check_services(known, open_database(), Bucket(known), pending=pending), *check_endpoint(known)]
    for check in checks:
        mark = "[green]ok[/]   " if check.ok else "[red]wrong[/]"
        out.print(f"{mark}  {check.name:10}", end="  ")
        out.print(check.found, markup=False)
        if check.remedy:
            out.print(f"{'':19}next: {check.remedy}", markup=False)
    if not all(check.ok for check in checks):
        raise typer.Exit(Exit.FAILED)


def check_endpoint(known: Settings) -> Iterator[Check]:
    """Ask for the account's credits, which costs none."""
    name = "endpoint"
    try:
        with EndpointClient(known.endpoint_url, known.endpoint_api_key) as client:
            answer = client.credits()
    except SettingsError as error:
        yield Check(name, ok=False, found="no API key is set", remedy=str(error))
        return
    except ValueError as error:
        remedy = "mend CUTOUT_ENDPOINT_URL or CUTOUT_ENDPOINT_API_KEYS, whichever it names"
        yield Check(name, ok=False, found=str(error), remedy=remedy)
        return
    except EndpointError as error:
        yield Check(name, ok=False, found=str(error), remedy="check CUTOUT_ENDPOINT_URL and the network")
        return
    if isinstance(answer, Refused):
        remedy = "check CUTOUT_ENDPOINT_API_KEYS against the endpoint's own pages"
        yield Check(name, ok=False, found=f"refused the key: {answer.code} {answer.message}", remedy=remedy)
        return
    left = sum(pool.balance or 0 for pool in answer)
    if left < 1:
        yield Check(
            name, ok=False, found="the account has no credits", remedy="buy credits; jobs wait until then"
        )
    else:
        yield Check(name, ok=True, found=f"{left:,.0f} credits")
