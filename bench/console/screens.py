"""The addresses of all screens, by kind of viewer."""

from collections.abc import Iterator

from bench.console.filling import OPERATOR, Filled


def addresses(filled: Filled, viewer: str) -> dict[str, str]:
    """Names of the screens that such a viewer has, each with its address."""
    return dict(_for_everybody(filled)) | (dict(_for_operators()) if viewer == OPERATOR else {})


def _for_everybody(filled: Filled) -> Iterator[tuple[str, str]]:
    yield "Now", "/console"
    yield "Batches", "/console/batches"
    yield "Batches, open", "/console/batches?show=open"
    yield "Batch, open", f"/console/batches/{filled.catalog}"
    yield "Batch, ended", f"/console/batches/{filled.ended}"
    yield "Batch, its failed jobs", f"/console/batches/{filled.ended}?state=failed"
    yield (
        "Batch, jobs of a rare code",
        f"/console/batches/{filled.ended}?state=failed&code=IMAGE_TOO_LARGE",
    )
    yield "Batch, jobs of a code without any", f"/console/batches/{filled.ended}?code=NONE"
    for state, job in filled.jobs.items():
        yield f"Job, {state}", f"/console/jobs/{job}"
    yield "Search, a SKU", "/console/search?q=SKU-0000007"
    yield "Search, nothing found", "/console/search?q=NO-SUCH-SKU"
    yield "Add work", "/console/add"
    yield "Trouble", "/console/trouble"
    yield "Trouble, held jobs", "/console/trouble/held?code=NO_ANSWER"
    yield "Trouble, webhooks", "/console/trouble/webhooks"
    yield "Schedules", "/console/schedules"
    yield "Schedules, a month", "/console/schedules?view=month"
    yield "Schedule", f"/console/schedules/{filled.schedule}"
    yield "Money", "/console/money"
    yield "Money, by batch", "/console/money?by=batch"
    yield "Money, unknown calls", "/console/money/unknown"


def _for_operators() -> Iterator[tuple[str, str]]:
    yield "Trouble, results at risk", "/console/trouble/at-risk"
    yield "Limit", "/console/limit"
    yield "System", "/console/system"
