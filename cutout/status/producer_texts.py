"""Texts for producers: explanations and errors without the operator's settings, commands and hosts."""

import json
import re
import uuid
from dataclasses import replace
from typing import Any

from cutout.enums import FINAL_STATES, OutputState, State
from cutout.models import Job
from cutout.status.explain_outputs import OutputExplanation, again
from cutout.status.explanation import Explanation
from cutout.storage.unexpected_bytes import CODE, Unexpected

# Reasons that stop the jobs of all producers, which only the operator can remove.
OPERATORS_TASK = "nothing for you to do; jobs continue by themselves once the operator has fixed it"
STOPPED: dict[str, str] = {
    "storage": "the storage for cutouts does not accept any at present",
    "results": "paid results cannot be fetched at present",
    "backlog": "calls wait until paid results are copied",
    "workers-cut-off": "no worker reaches the storage for cutouts at present",
    "paused": "all calls are paused by the operator",
    "day-budget": "the service's budget of the day is spent; calls resume at 00:00 UTC",
    "no-dispatcher": "the service does not dispatch jobs at present",
    "no-worker": "the service has no worker at present",
    "account-paused": "the endpoint accepts no calls of the service at present",
    "cutout-missing": "cutouts that were bought before cannot be found at present",
}


def for_producer(job: Job, found: Explanation) -> Explanation:
    """The explanation for the job's producer, with remedies that are available to it."""
    text = STOPPED.get(found.why)
    if text is not None and found.state not in FINAL_STATES:
        return Explanation(found.state, found.why, text, OPERATORS_TASK, found.ahead, found.until)
    anonymous = re.sub(r"\bworker \d+ on \S+", "a worker", found.text)
    remedy = _remedy(job, found)
    return Explanation(found.state, found.why, text_for_producer(anonymous), remedy, found.ahead, found.until)


def output_for_producer(job_id: uuid.UUID, found: OutputExplanation) -> OutputExplanation:
    """The explanation of an output for the job's producer; only the operator starts renderers."""
    remedy = OPERATORS_TASK if found.remedy else None
    if remedy and found.state is OutputState.FAILED:
        remedy = again(f"POST /v1/jobs/{job_id}/retry-outputs")
    return replace(found, text=text_for_producer(found.text), remedy=remedy)


def _remedy(job: Job, found: Explanation) -> str | None:
    if found.remedy is None:
        return None
    batch, job_path = f"/v1/batches/{job.batch_id}", f"/v1/jobs/{job.id}"
    match found.why, found.state:
        case "batch-paused", _:
            return f"`POST {batch}/resume` ends the pause"
        case "batch-cancelled", _:
            return f"`POST {batch}/cancel` again cancels the rest"
        case "batch-deleting", _:
            return f"`DELETE {batch}` again"
        case "NEEDS_APPROVAL", _:
            return f"`POST {batch}/approve` starts its batch, `POST {batch}/cancel` cancels it"
        case "OVER_BUDGET", _:
            return "ask the operator to raise the budget of its batch, or cancel it"
        case "same-picture", _:
            return None
        case _, State.FAILED:
            return f"fix the cause, then `POST {job_path}/retry`"
        case _, State.HELD:
            return _of_held(job, job_path)
    return None


def _of_held(job: Job, job_path: str) -> str:
    remedy = f"`POST {job_path}/retry` releases it, `POST {job_path}/cancel` cancels it"
    found = Unexpected.of(job.unexpected)
    if job.code == CODE and found is not None and found.is_picture:
        return f"`POST {job_path}/accept` makes what came its cutout, {remedy}"
    return remedy


# Settings, operators' commands, files and objects of this installation.
INTERNAL = re.compile(
    r"\bCUTOUT_[A-Z0-9_]+|`cutout\b|`--[a-z]|\bTMPDIR\b|(?:^|[\s'\"(])/(?:tmp|var|spool|root|home|app|run)\b"
    r"|\bs3://|\bworker \d+ on \S"
)
BETWEEN = re.compile(r"(; |: |, (?:and |or )?| or | and | \(|\) )")
# Options of `cutout ingest` that a request has too, under the same name.
OPTION = re.compile(r"`--(?P<name>many|map|encoding|delimiter|include|exclude)(?: (?P<value>[^`]+))?`")
NOTHING_LEFT = "the reason is in the operator's log"


def text_for_producer(text: str) -> str:
    """The text without the clauses that name settings, commands, files or objects of this installation.

    An option of a command is named as the field of a request, if there is one.
    """
    if not INTERNAL.search(text):
        return text
    text = OPTION.sub(_field_of, text)
    parts = BETWEEN.split(text)
    kept, separator = "", ""
    for clause, after in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if INTERNAL.search(clause):
            continue
        kept += (separator if kept else "") + clause
        separator = after
    return kept.strip() or NOTHING_LEFT


def _field_of(option: re.Match[str]) -> str:
    value = "true" if option["name"] == "many" else option["value"]
    return f"`{option['name']}={value}`" if value else f"`{option['name']}`"


def payload_for_producer(payload: str) -> str:
    """A JSON message with its error texts changed by `text_for_producer`."""
    if not INTERNAL.search(payload):
        return payload
    return json.dumps(json.loads(payload, object_hook=_with_text), ensure_ascii=False)


def _with_text(found: dict[str, Any]) -> dict[str, Any]:
    message = found.get("message")
    return found | {"message": text_for_producer(message)} if isinstance(message, str) else found
