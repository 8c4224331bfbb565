"""Health: whether the process lives, and whether the stores that it needs are reachable."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.lifecycle.readiness import Readiness, is_ready
from api.problems import LATER_S

router = APIRouter(tags=["health"])

# Coroutines both, without dependencies: threads may all wait for a frozen server.


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Something that is needed is not there"}})
async def readyz(request: Request) -> JSONResponse:
    """Whether jobs can be taken. What is wrong the log says, and the metrics' address.

    Without dispatcher, worker or calls the API is ready all the same: jobs are taken, and wait.
    """
    readiness: Readiness = request.app.state.readiness
    ready = is_ready(await readiness.checks())
    return JSONResponse(
        {"status": "ready" if ready else "not ready"},
        status_code=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
        headers={} if ready else {"Retry-After": str(LATER_S)},
    )
