"""Whether the process lives, and whether what it needs is there."""

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.access import AtHand
from jobs.health import check_services
from migrations.run import pending

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Something that is needed is not there"}})
def readyz(at_hand: AtHand) -> JSONResponse:
    """Database, schema, Redis and bucket, each `ok` or what is wrong."""
    checks = check_services(at_hand.settings, at_hand.engine, at_hand.bucket, pending=pending)
    ready = all(check.ok for check in checks)
    return JSONResponse(
        {
            "status": "ready" if ready else "not ready",
            "checks": {check.name: check.found for check in checks},
        },
        status_code=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )
