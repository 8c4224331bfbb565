"""What cutouts of this installation are made by: where an identity's parts come from."""

from cutout.endpoint.client import call_url
from cutout.images.image import PREPARATION
from cutout.queue.reuse.identity import Recipe
from cutout.settings import Settings


def recipe_of(settings: Settings) -> Recipe:
    """The endpoint that is called, our preparation and the bucket.

    Raises ValueError for a base URL that is none.
    """
    return Recipe(call_url(settings.endpoint_url), PREPARATION, settings.s3_bucket)
