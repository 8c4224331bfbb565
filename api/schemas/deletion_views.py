"""The result of a deletion, as its producer sees it."""

import uuid
from typing import Annotated

from pydantic import BaseModel, Field

from api.schemas.examples import A_BATCH, A_JOB
from cutout.administration.delete import Deletion, PartKind


class PartView(BaseModel):
    """Something of a deleted job."""

    what: Annotated[PartKind, Field(examples=["cutout"])]
    key: Annotated[
        str | None,
        Field(description="Of an object in the bucket", examples=[f"cutouts/{A_BATCH}/SKU-4471.png"]),
    ]
    why: Annotated[str | None, Field(description="Why it is kept, or when it goes", examples=[None])]


class DeletionView(BaseModel):
    """Parts of a job that were removed, and those that were kept with the reason."""

    id: Annotated[uuid.UUID, Field(examples=[A_JOB])]
    removed: list[PartView]
    kept: list[PartView]


def view_deletion(job_id: uuid.UUID, told: Deletion) -> DeletionView:
    """Make the view of a deletion."""
    removed, kept = ([PartView(**part._asdict()) for part in parts] for parts in (told.removed, told.kept))
    return DeletionView(id=job_id, removed=removed, kept=kept)
