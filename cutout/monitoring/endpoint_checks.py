"""Health checks of the accounts at the endpoint."""

from collections.abc import Iterator

from cutout.billing.accounts import account_name
from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.credits import usable
from cutout.endpoint.endpoint_errors import EndpointError
from cutout.monitoring.check import Check
from cutout.settings import Settings, SettingsError


def check_endpoint(settings: Settings) -> Iterator[Check]:
    """Ask for each account's credits, which costs none."""
    try:
        keys = [key.get_secret_value() for key in settings.require_endpoint_api_keys()]
    except SettingsError as error:
        yield Check("endpoint", ok=False, found="no API key is set", remedy=str(error))
        return
    for key in keys:
        yield _check_account("endpoint" if len(keys) == 1 else account_name(key), settings, key)


def _check_account(name: str, settings: Settings, api_key: str) -> Check:
    try:
        with EndpointClient(settings.endpoint_url, api_key, proxy=settings.egress_to_endpoint) as client:
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
