"""The object of an output: its key, its metadata, and the copy of one that was made before."""

from collections.abc import Mapping
from typing import Any

from cutout.outputs.options import columns_in
from cutout.outputs.recipes import parse_name_template
from cutout.outputs.versions import version_of
from cutout.queue.outputs import ClaimedOutput, ClaimedPicture, MadeBefore, MadeOutput
from cutout.storage import Bucket
from cutout.storage.object_keys import WITHOUT_BATCH, extension_of, output_key
from worker.signed_objects import SignedObjectClient


def key_of(output: ClaimedOutput, extension: str) -> str:
    """The key of an output's object. A file with a name of its own lies in a folder of its output's own.

    So no file can take the place of another one, whatever templates and columns give as names.
    """
    if output.file is None:
        return output_key(
            output.name,
            job_id=output.job_id,
            batch_id=output.batch_id,
            external_id=output.external_id,
            return_form=output.return_form,
            extension=extension,
        )
    values = {
        "external_id": output.external_id,
        "rendition": output.name,
        "ext": extension,
        "batch": str(output.batch_id or WITHOUT_BATCH),
        "job": str(output.job_id),
        "form": str(output.return_form),
    }
    # A field that this job does not have is its id: only requests are refused for a field.
    template = parse_name_template(output.file, columns_in(output.file))
    name = template.format(values, output.details)
    return f"outputs/{output.batch_id or WITHOUT_BATCH}/{output.job_id}/{output.name}/{name}"


def metadata_of(picture: ClaimedPicture, output: ClaimedOutput) -> dict[str, str]:
    """The metadata of an output's object: what it is derived from, and how."""
    return {
        "job": str(output.job_id),
        "fence": str(output.fence),
        "output": output.name,
        "derived-from": picture.bought.sha256.hex(),
        "recipe": output.recipe,
        "version": str(version_of(output.recipe)),
    }


def put(
    objects: SignedObjectClient,
    picture: ClaimedPicture,
    output: ClaimedOutput,
    fields: Mapping[str, Any],
    data: bytes,
) -> MadeOutput:
    """Store what was made; the fields are those that the child answered. Raises StorageError."""
    common: dict[str, Any] = {
        name: fields.get(name) for name in ("factor", "measures", "note", "cpu_seconds")
    }
    common |= {"problems": tuple(fields.get("problems", ())), "version": version_of(output.recipe)}
    if "score" in (fields.get("measures") or {}):
        return MadeOutput(**common)
    size = {"width": fields["width"], "height": fields["height"]}
    if fields.get("same"):
        bought = picture.bought
        stored = {name: getattr(bought, name) for name in ("sha256", "media_type", "size_bytes")}
        return MadeOutput(**common, **size, **stored, key=output.bought_key)
    key = key_of(output, fields["extension"])
    sha256 = objects.put_cutout(
        data, key=key, media_type=fields["media_type"], metadata=metadata_of(picture, output)
    )
    stored = {"key": key, "sha256": sha256, "media_type": fields["media_type"], "size_bytes": len(data)}
    return MadeOutput(**common, **size, **stored)


def copy_before(
    bucket: Bucket, picture: ClaimedPicture, output: ClaimedOutput, before: MadeBefore
) -> str | None:
    """The key of what was made before: the other output's, or that of a copy if either has a name of its own.

    A name by a template for one job, of its ASIN for instance, is never another job's. Raises StorageError.
    """
    if before.key is None or before.sha256 is None or before.media_type is None or before.size_bytes is None:
        return None
    if before.sha256 == picture.bought.sha256 and output.file is None:
        return output.bought_key
    if output.file is None and before.file is None:
        return before.key
    key = key_of(output, extension_of(before.media_type))
    bucket.copy(
        before.key,
        to=key,
        sha256=before.sha256,
        size_bytes=before.size_bytes,
        media_type=before.media_type,
        metadata=metadata_of(picture, output),
    )
    return key
