"""docs/reference/openapi.json, the API's document: `python -m tests.docs.openapi_file` renews it."""

import json

from api.app import create_app
from cutout.settings import load_settings
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "openapi.json"


def openapi_file() -> str:
    """The document on the defaults of all settings, as text."""
    # Nothing is connected to: they are needed, and name nothing in the document.
    settings = load_settings(database_url="postgresql+psycopg://cutout", redis_url="redis://localhost")
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(openapi_file())
