"""Keys of objects in the bucket: safe for any external id, never shared by two jobs."""

import hashlib
import re
import uuid

from cutout.enums import ReturnForm

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
UPLOADED = re.compile(r"sources/(?:[0-9a-f-]{36}/)?[0-9a-f]{2}/([0-9a-f]{64})")
LONGEST_NAME = 128
FORMS = frozenset(ReturnForm)
HASH_DIGITS = 16
# A name that ends like a derived one could collide with a derived one: it gets a hash as well.
LOOKS_DERIVED = re.compile(rf"(-[0-9a-f]{{{HASH_DIGITS}}}|\.({'|'.join(ReturnForm)}))$")
WITHOUT_BATCH = "jobs"
WITHOUT_PRODUCER = "operator"


def source_key(sha256_hex: str, producer_id: uuid.UUID | None = None) -> str:
    """The key of an uploaded source: by its content, so that each producer's picture is stored once.

    Producers share no object, since one could not delete it without harm to the other.
    """
    owner = "" if producer_id is None else f"{producer_id}/"
    return f"sources/{owner}{sha256_hex[:2]}/{sha256_hex}"


def sha256_in_key(key: str) -> bytes | None:
    """The SHA-256 in the key of an uploaded source; None for any other key."""
    found = UPLOADED.fullmatch(key)
    return bytes.fromhex(found[1]) if found else None


def uploaded_sources(bucket: str) -> str:
    """The begin of uploaded sources' addresses in a bucket.

    The rest is checked by cutout/queue/reuse/known_content.py.
    """
    return f"s3://{bucket}/sources/"


def cutout_key(
    template: str,
    *,
    job_id: uuid.UUID,
    producer_id: uuid.UUID | None = None,
    batch_id: uuid.UUID | None,
    external_id: str | None,
    return_form: ReturnForm,
    bought_form: ReturnForm,
    extension: str,
) -> str:
    """The key of a cutout by `template` (CUTOUT_KEY_TEMPLATE).

    A job without a batch or an external id uses its own id, since nothing else is unique.
    """
    name = str(job_id) if batch_id is None or external_id is None else safe_name(external_id)
    # What was bought for another form differs in its key from what was bought as that form.
    form = return_form if bought_form is return_form else f"{return_form}.{bought_form}"
    if "{return_form}" not in template and return_form is not ReturnForm.RGBA:
        name = f"{name}.{form}"
    return template.format(
        batch=batch_id or WITHOUT_BATCH,
        external_id=name,
        return_form=form,
        job=job_id,
        producer=producer_id or WITHOUT_PRODUCER,
        ext=extension,
    )


def output_key(
    name: str,
    *,
    job_id: uuid.UUID,
    batch_id: uuid.UUID | None,
    external_id: str | None,
    return_form: ReturnForm,
    extension: str,
) -> str:
    """The key of an output, by its name: unique among the outputs of all jobs."""
    stem = str(job_id) if batch_id is None or external_id is None else safe_name(external_id)
    # A rendition named like a form differs from the form of another job with this external id.
    if name != return_form and (return_form is not ReturnForm.RGBA or name in FORMS):
        stem = f"{stem}.{return_form}"
    return f"outputs/{batch_id or WITHOUT_BATCH}/{stem}.{name}.{extension}"


def extension_of(media_type: str) -> str:
    """The extension of a cutout of this type, without a dot."""
    return {"image/jpeg": "jpg", "image/tiff": "tif"}.get(media_type, media_type.rpartition("/")[2])


def safe_name(external_id: str) -> str:
    """A file name for an external id: the id itself if it is safe, else shortened and with a hash added."""
    name = UNSAFE.sub("_", external_id).strip(".")[:LONGEST_NAME]
    if name == external_id and not LOOKS_DERIVED.search(name):
        return name
    digest = hashlib.sha256(external_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name or 'x'}-{digest[:HASH_DIGITS]}"
