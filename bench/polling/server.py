"""The API as it is, in a process of its own, with a bare route beside it to be measured in turn."""

import sys
import uuid
from collections import Counter
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine, bindparam, event, select

from api.app import create_app
from api.server import Server, server_options
from cutout.imports import uncollected
from cutout.models import JOBS
from cutout.models.database import connect
from cutout.settings import read_settings

# What one writes to show the state of a row by its key: no key of an API, no ledger, no problem documents.
BY_KEY = select(JOBS.c.id, JOBS.c.external_id, JOBS.c.state, JOBS.c.created_at, JOBS.c.finished_at).where(
    JOBS.c.id == bindparam("job")
)


def create() -> FastAPI:
    """The app with `/bare/{job_id}`; `/counted` says how often batches were counted, `/waiting` who waits."""
    app = create_app()
    bare = connect(
        read_settings().database_url.get_secret_value(), connections=8, check_first=False, autocommit=True
    )
    counted: Counter[str] = Counter()

    @event.listens_for(Engine, "before_cursor_execute")
    def _seen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "GROUP BY jobs.state" in statement:
            counted["batches"] += 1

    @app.get("/bare/{job_id}", include_in_schema=False)
    def get(job_id: uuid.UUID) -> dict[str, Any]:
        with bare.connect() as connection:
            return dict(connection.execute(BY_KEY, {"job": job_id}).mappings().one())

    @app.get("/counted", include_in_schema=False)
    def get_counted() -> int:
        return counted["batches"]

    @app.get("/waiting", include_in_schema=False)
    async def get_waiting() -> int:
        return len(app.state.services.watch)

    return app


if __name__ == "__main__":
    options = server_options(
        app=create, factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning"
    )
    with uncollected():
        options.load()
    Server(options, drain_s=0).run()
