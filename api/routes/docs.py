"""The routes as a page to read, and as the OpenAPI document."""

import json

from fastapi import APIRouter, FastAPI, Request, Response

from api.docs_page import POLICY, page_of
from api.fixed_page import FixedPage

router = APIRouter()


def make_pages(app: FastAPI) -> None:
    """Make both pages; anybody may ask for them, however often, without a key."""
    document = app.openapi()
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    app.state.openapi_page = FixedPage(text, "application/json")
    policy = {"Content-Security-Policy": POLICY}
    app.state.docs_page = FixedPage(page_of(document), "text/html; charset=utf-8", policy)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """All routes with their parameters, bodies and answers, to read."""
    page: FixedPage = request.app.state.docs_page
    return page.answer(request)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    page: FixedPage = request.app.state.openapi_page
    return page.answer(request)
