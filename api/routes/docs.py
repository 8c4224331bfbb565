"""The page of the routes."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.docs_page import POLICY, page_of

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """All routes with their parameters, bodies and answers, to read."""
    state = request.app.state
    if not hasattr(state, "docs_page"):
        state.docs_page = page_of(request.app.openapi())
    return HTMLResponse(state.docs_page, headers={"Content-Security-Policy": POLICY})
