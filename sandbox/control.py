"""The control routes, for whoever runs the sandbox: faults, ledger, settings, statistics."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from sandbox.faults import Fault
from sandbox.settings import SettingsChange
from sandbox.state import Sandbox, sandbox_of
from sandbox.statistics import busiest_second

_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


def _require_loopback_host(request: Request) -> None:
    """Refuse a Host that is not this machine: a web page can point a name of its own at 127.0.0.1."""
    if request.url.hostname not in _LOOPBACK_HOSTS:
        raise HTTPException(
            403, f"control routes do not answer to Host {request.url.hostname!r}; use localhost or 127.0.0.1"
        )


async def _sandbox(request: Request) -> Sandbox:
    return sandbox_of(request)


InSandbox = Annotated[Sandbox, Depends(_sandbox)]

router = APIRouter(prefix="/sandbox", dependencies=[Depends(_require_loopback_host)])


@router.post("/faults", status_code=201)
async def order_fault(fault: Fault, sandbox: InSandbox) -> Fault:
    """Order a fault; the first ordered that wants a call strikes it."""
    try:
        sandbox.faults.add(fault)
    except ValueError as full:
        raise HTTPException(409, str(full)) from full
    return fault


@router.get("/faults")
async def list_faults(sandbox: InSandbox) -> list[Fault]:
    return sandbox.faults.faults


@router.delete("/faults", status_code=204)
async def clear_faults(sandbox: InSandbox) -> None:
    sandbox.faults.clear()


@router.get("/ledger")
async def read_ledger(sandbox: InSandbox, *, charges: bool = True) -> dict[str, Any]:
    """Every charge and the totals; `?charges=false` gives the totals alone."""
    ledger = sandbox.ledger
    return {
        "total": ledger.total(),
        "by_account": ledger.totals_by("account"),
        "by_image": ledger.totals_by("image_sha256"),
        "charges": ledger.charges() if charges else [],
    }


@router.delete("/ledger", status_code=204)
async def clear_ledger(sandbox: InSandbox) -> None:
    sandbox.ledger.clear()


@router.get("/calls")
async def read_calls(sandbox: InSandbox) -> list[dict[str, Any]]:
    """Every call: when it came, its picture, charge and fault, and when its answer went out whole."""
    return sandbox.calls.all()


@router.delete("/calls", status_code=204)
async def clear_calls(sandbox: InSandbox) -> None:
    sandbox.calls.clear()


@router.get("/settings")
async def read_settings(sandbox: InSandbox) -> dict[str, Any]:
    return sandbox.settings.model_dump() | {"credits": sandbox.accounts.balances()}


@router.post("/settings")
async def change_settings(change: SettingsChange, sandbox: InSandbox) -> dict[str, Any]:
    """Change what the body names, leave the rest; `credits` sets balances and makes accounts."""
    sandbox.settings = change.applied_to(sandbox.settings)
    sandbox.accounts.set_balances(change.credits)
    return await read_settings(sandbox)


@router.get("/stats")
async def read_statistics(
    sandbox: InSandbox, seconds: Annotated[float, Query(gt=0, description="how far back")] = 60
) -> dict[str, Any]:
    """Arrivals at the paid route in the last `seconds`, answered or refused, and counts since the clear."""
    statistics = sandbox.statistics
    arrivals = statistics.since(seconds)
    return {
        "arrivals": arrivals,
        "busiest_second": busiest_second(arrivals),
        "arrived": statistics.arrived,
        "in_flight": statistics.in_flight,
        "max_in_flight": statistics.max_in_flight,
        "refused": statistics.refused,
    }


@router.delete("/stats", status_code=204)
async def clear_statistics(sandbox: InSandbox) -> None:
    sandbox.statistics.clear()
