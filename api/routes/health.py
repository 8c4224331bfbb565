"""Whether the process lives, and whether what it needs is there."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.readiness import Readiness
from jobs.health import Check
from jobs.storage import StorageError

router = APIRouter(tags=["health"])

# Coroutines both, without dependencies: threads may all wait for a frozen server.


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Something that is needed is not there"}})
async def readyz(request: Request) -> JSONResponse:
    """Database, schema, Redis and bucket, each `ok` or what is wrong; and whether jobs move.

    Without dispatcher, worker or calls the API is ready all the same: jobs are taken, and wait.
    """
    readiness: Readiness = request.app.state.readiness
    checks = await readiness.checks()
    ready = all(check.ok for check in checks if check.needed)
    return JSONResponse(
        {
            "status": "ready" if ready else "not ready",
            "checks": {check.name: _public(check) for check in checks},
        },
        status_code=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _public(check: Check) -> str:
    """What a stranger may know: what Postgres and Redis say names hosts and users."""
    if check.cause is None or isinstance(check.cause, StorageError):
        return check.found
    return f"not there or not as it should be ({type(check.cause).__name__}); `cutout doctor` says more"
