"""Every type of problem with its status, title and remedy. docs/reference/problems.md shows them."""

from dataclasses import dataclass
from http import HTTPStatus

PREFIX = "urn:cutout:problem:"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem, which never changes its meaning; `detail` of the document has the single case."""

    status: HTTPStatus
    title: str
    remedy: str


PROBLEM_TYPES = {
    "bad-request": ProblemType(
        HTTPStatus.BAD_REQUEST, "The request cannot be read", "Send the request as HTTP and OpenAPI have it."
    ),
    "no-key": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The request bears no API key",
        "Send the header `Authorization: Bearer KEY`.",
    ),
    "wrong-key": ProblemType(
        HTTPStatus.UNAUTHORIZED,
        "The API key is unknown, revoked or expired",
        "Ask the operator for a new key.",
    ),
    "operator-key": ProblemType(
        HTTPStatus.FORBIDDEN,
        "The API key is an operator's",
        "Use a producer's key here; an operator's key signs in to the console.",
    ),
    "producer-suspended": ProblemType(
        HTTPStatus.FORBIDDEN,
        "The producer is suspended",
        "Ask the operator; nothing is lost, and all continues once the operator resumes the producer.",
    ),
    "scope-missing": ProblemType(
        HTTPStatus.FORBIDDEN,
        "The API key may not do this",
        "Use a key with the scope that `detail` names, or ask the operator for one.",
    ),
    "not-found": ProblemType(
        HTTPStatus.NOT_FOUND, "There is no such address", "See the routes at `/docs` or in `/openapi.json`."
    ),
    "unknown-job": ProblemType(
        HTTPStatus.NOT_FOUND,
        "You have no such job",
        "Use an id that `POST /v1/jobs` gave to a key of the same producer.",
    ),
    "unknown-batch": ProblemType(
        HTTPStatus.NOT_FOUND,
        "You have no such batch",
        "Use an id that `POST /v1/batches` gave to a key of the same producer.",
    ),
    "unknown-schedule": ProblemType(
        HTTPStatus.NOT_FOUND,
        "You have no such schedule",
        "Use an id that `GET /v1/schedules` gave to a key of the same producer.",
    ),
    "unknown-delivery": ProblemType(
        HTTPStatus.NOT_FOUND,
        "You have no such delivery",
        "Use an id that `GET /v1/webhooks/deliveries` gave; old ones are forgotten.",
    ),
    "method-not-allowed": ProblemType(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "The address does not know this method",
        "Use a method that the header `Allow` names.",
    ),
    "not-acceptable": ProblemType(
        HTTPStatus.NOT_ACCEPTABLE,
        "The answer has no form that the request accepts",
        "Leave the header `Accept` out, or name a media type in it that `detail` names.",
    ),
    "too-slow": ProblemType(
        HTTPStatus.REQUEST_TIMEOUT,
        "The request's body came too slowly",
        "Send it again over a better connection, with the same Idempotency-Key; nothing was stored.",
    ),
    "no-result": ProblemType(
        HTTPStatus.CONFLICT,
        "The job has no cutout",
        "If it is queued or running, look again later; else its `error` says what to do.",
    ),
    "output-waiting": ProblemType(
        HTTPStatus.CONFLICT,
        "The output is still to be made",
        "Ask again after `Retry-After` seconds; `GET /v1/jobs/{job_id}/explanation` says why it waits.",
    ),
    "output-failed": ProblemType(
        HTTPStatus.CONFLICT,
        "The output could not be made",
        "Read the reason in `detail`; `POST /v1/jobs/{job_id}/retry-outputs` makes it again. What was"
        " bought is at the job's `bought`.",
    ),
    "unknown-output": ProblemType(
        HTTPStatus.NOT_FOUND,
        "The job has no output of this name",
        "Use the name of one of the job's `outputs`; they exist once the job has succeeded.",
    ),
    "nothing-unexpected": ProblemType(
        HTTPStatus.CONFLICT,
        "Nothing unexpected came for the job",
        "Nothing; its cutout, if there is one, is at its `result`.",
    ),
    "unexpected-no-picture": ProblemType(
        HTTPStatus.CONFLICT,
        "What came for the job is no picture",
        "`GET /v1/jobs/{job_id}/unexpected` shows it; `POST /v1/jobs/{job_id}/retry` requests the result"
        " again while it lives, and calls again after that; or cancel the job.",
    ),
    "wrong-state": ProblemType(
        HTTPStatus.CONFLICT,
        "The state of the job or batch does not allow this",
        "Look at it; `detail` says in which states it can be done, or what to do first.",
    ),
    "needs-approval": ProblemType(
        HTTPStatus.CONFLICT,
        "The job waits until its batch is approved",
        "Approve the batch, or cancel it.",
    ),
    "no-manifest": ProblemType(
        HTTPStatus.CONFLICT,
        "There is no manifest that the results could be put into",
        "Leave `as_input` out; or look again once the batch's `ingest` is read.",
    ),
    "not-awaiting-approval": ProblemType(
        HTTPStatus.CONFLICT,
        "The batch waits for no approval",
        "Nothing; it was approved or cancelled, or was made without `plan`.",
    ),
    "paused-by-operator": ProblemType(
        HTTPStatus.CONFLICT,
        "An operator paused this",
        "Ask the operator to let it go on; a producer lifts its own pause alone.",
    ),
    "skipped-by-operator": ProblemType(
        HTTPStatus.FORBIDDEN,
        "An operator skipped this run",
        "Ask the operator to let it start; a producer restores alone what it skipped itself.",
    ),
    "fired-already": ProblemType(
        HTTPStatus.CONFLICT,
        "A run was fired at this very instant",
        "Look at the schedule's runs; fire another if that is not the one.",
    ),
    "no-report": ProblemType(
        HTTPStatus.CONFLICT, "The run has no report yet", "Look again once the run has ended."
    ),
    "no-rejects": ProblemType(
        HTTPStatus.CONFLICT,
        "The batch has no file of rejects",
        "Look at its `ingest`: the file is there once the manifest is read, if any row was rejected.",
    ),
    "job-exists": ProblemType(
        HTTPStatus.CONFLICT,
        "There is a job with this external id already",
        "Use the job that `job_id` and `Location` name; or give this picture an external id of its own.",
    ),
    "idempotency-key-in-use": ProblemType(
        HTTPStatus.CONFLICT,
        "The same request is being carried out at this moment",
        "Send it again after `Retry-After` seconds, with the same Idempotency-Key.",
    ),
    "changed-meanwhile": ProblemType(
        HTTPStatus.PRECONDITION_FAILED,
        "What you want to change is not as you saw it",
        "Get it again, and send the change with the new `ETag` in `If-Match` if it is still right.",
    ),
    "wrong-host": ProblemType(
        HTTPStatus.MISDIRECTED_REQUEST,
        "The request is for another host",
        "Ask for the API by the name that the operator gave you.",
    ),
    "body-too-large": ProblemType(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The request's body is too large",
        "Send less at once; `detail` names the limit.",
    ),
    "image-too-large": ProblemType(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The picture has too many bytes",
        "Save it smaller; `detail` names the limit.",
    ),
    "unsupported-media-type": ProblemType(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body is of a kind that is not taken here",
        "Send a `Content-Type` that `detail` names, and a body of that kind.",
    ),
    "invalid-request": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request does not fit its schema",
        "Fix the part that `field` names; `/openapi.json` has the schema.",
    ),
    "invalid-job": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The job cannot be enqueued as it stands",
        "Fix the part that `field` names; nothing was stored.",
    ),
    "above-ceiling": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The priority or weight is above what you may ask for",
        "Ask for what `detail` names at most; only the operator can raise the ceiling.",
    ),
    "invalid-schedule": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The schedule cannot be kept as it stands",
        "Fix the part that `field` names; nothing was stored.",
    ),
    "schedule-exists": ProblemType(
        HTTPStatus.CONFLICT,
        "There is a schedule with this name already",
        "Change or remove the schedule that `schedule_id` and `Location` name; or choose another name.",
    ),
    "too-many-schedules": ProblemType(
        HTTPStatus.CONFLICT, "You have too many schedules", "Remove one first."
    ),
    "unknown-endpoint": ProblemType(
        HTTPStatus.NOT_FOUND,
        "You have no such webhook endpoint",
        "Use an id that `GET /v1/webhooks/endpoints` gave to a key of the same producer.",
    ),
    "too-many-endpoints": ProblemType(
        HTTPStatus.CONFLICT,
        "You have too many webhook endpoints",
        "Remove one first, or let one receive the events of several.",
    ),
    "endpoint-disabled": ProblemType(
        HTTPStatus.CONFLICT,
        "The webhook endpoint is disabled",
        "Enable it by PATCH with `enabled` true; its `disabled_reason` says why it was disabled.",
    ),
    "invalid-webhook": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The webhook's address cannot be told",
        "Fix the address as `detail` says.",
    ),
    "wrong-cursor": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The cursor or event id was not given out for this",
        "Begin without one; then send what the answer before gave, with the same filters.",
    ),
    "no-image": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The form has no picture",
        "Send the picture as the file field `image`.",
    ),
    "empty-image": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The picture has 0 bytes", "Send the file itself."
    ),
    "too-many-jobs": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The list has too many jobs",
        "Split the list, or send it as a manifest.",
    ),
    "two-sources": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The batch has a list of jobs and a manifest",
        "Make a batch of each.",
    ),
    "nothing-to-plan": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "There is nothing to approve of",
        "Send the jobs with the batch, or a manifest; later ones would not wait for approval.",
    ),
    "empty-manifest": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The manifest has 0 bytes", "Send the file itself."
    ),
    "invalid-idempotency-key": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key cannot be used",
        "Send 1 to 255 printable ASCII characters, such as a UUID.",
    ),
    "idempotency-key-reused": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key belongs to another request",
        "Make a new key for a new request; send an old one only to repeat its request unchanged.",
    ),
    "head-too-large": ProblemType(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request's address and headers are too large",
        "Send fewer and shorter headers and a shorter query; they may be 100, and have 32 kB together.",
    ),
    "unsupported-transfer-coding": ProblemType(
        HTTPStatus.NOT_IMPLEMENTED,
        "The body comes in a transfer coding that is not known here",
        "Send the body with a `Content-Length`, or as `Transfer-Encoding: chunked`.",
    ),
    "rate-limited": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The API key sends too many requests",
        "Wait `Retry-After` seconds, and send fewer a second than `RateLimit-Policy` says.",
    ),
    "too-many-at-once": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The producer has too many requests of this kind under way",
        "Wait `Retry-After` seconds and until one has ended; send fewer at once.",
    ),
    "too-many-wrong-keys": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many API keys that are unknown were tried",
        "Wait `Retry-After` seconds, and send a key that the operator gave you.",
    ),
    "weight-just-changed": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The batch's weight was changed less than a minute ago",
        "Wait `Retry-After` seconds, then change it again.",
    ),
    "quota-reached": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The producer has too many unfinished jobs",
        "Enqueue more once some have ended, or ask the operator for a larger quota.",
    ),
    "internal-error": ProblemType(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Unexpected error",
        "Send it again with the same Idempotency-Key; if it lasts, report it.",
    ),
    "too-many-streams": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many event streams are open",
        "Poll the batch, or open the stream again later.",
    ),
    "busy": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The API has too many requests of this kind under way",
        "Send it again after `Retry-After` seconds.",
    ),
    "storage-unavailable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE, "The bucket does not do as asked", "Send it again later."
    ),
    "database-unavailable": ProblemType(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer in time", "Send it again later."
    ),
}
