"""The step that costs nothing and must not be lost: the paid result goes into the bucket."""

from datetime import UTC, datetime

from jobs.keys import cutout_key
from jobs.outcomes import Hold, Outcome, Retry, StoredObject, Succeeded
from jobs.states import Step
from jobs.storage import StorageError
from jobs.store import Claim
from worker.context import WorkerContext
from worker.endpoint.errors import ResultGone, ResultUnavailable, ResultUrlRefused, ResultWrong
from worker.endpoint.result_check import CutoutImage, check_result

BY_HAND = "retry it to call again, for another credit"
TRIES_OF_A_WRONG_RESULT = 5


def copy(context: WorkerContext, claim: Claim) -> Outcome:
    """Download the paid result, check it, and store it. Any failure leaves the job at this step."""
    result = claim.result
    if result is None:
        return Hold("RESULT_LOST", f"the job is at its copy without a result; {BY_HAND}")
    try:
        data = context.results.download(result.url)
        cutout = check_result(data, claim.return_form, result.sent_width, result.sent_height)
        return Succeeded(_store(context, claim, cutout))
    except ResultGone as error:
        return Hold("RESULT_EXPIRED", f"{error}: a paid result was lost; {BY_HAND}")
    except (ResultUrlRefused, ResultUnavailable) as error:
        if datetime.now(UTC) > result.expires_at:
            return Hold("RESULT_EXPIRED", f"{error}, and its time is over: a paid result was lost; {BY_HAND}")
        refused = isinstance(error, ResultUrlRefused)
        return Retry(Step.COPY, "RESULT_HOST_REFUSED" if refused else "RESULT_UNAVAILABLE", str(error))
    except ResultWrong as error:
        if claim.tries + 1 >= TRIES_OF_A_WRONG_RESULT:
            return Hold("RESULT_WRONG", f"{error}; {BY_HAND}")
        return Retry(Step.COPY, "RESULT_WRONG", str(error))
    except StorageError as error:
        return Retry(Step.COPY, "STORAGE_AWAY", str(error))


def _store(context: WorkerContext, claim: Claim, cutout: CutoutImage) -> StoredObject:
    key = cutout_key(
        context.settings.key_template,
        job_id=claim.job_id,
        batch_id=claim.batch_id,
        external_id=claim.external_id,
        return_form=claim.return_form,
        extension=cutout.extension,
    )
    metadata = {"job": str(claim.job_id), "fence": str(claim.fence), "form": claim.return_form}
    sha256 = context.objects.put_cutout(cutout.data, key=key, media_type=cutout.media_type, metadata=metadata)
    return StoredObject(
        key=key,
        sha256=sha256,
        media_type=cutout.media_type,
        size_bytes=len(cutout.data),
        width=cutout.width,
        height=cutout.height,
    )
