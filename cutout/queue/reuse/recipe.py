"""Recipe of this installation: the parts of an identity that its settings give."""

from cutout.endpoint.client import call_url
from cutout.images.image import PREPARATION
from cutout.queue.reuse.identity import Recipe
from cutout.settings import Settings


def recipe_of(settings: Settings) -> Recipe:
    """Build the recipe: the endpoint that is called, our preparation and the bucket.

    Raises ValueError if the endpoint's base URL is no URL.
    """
    return Recipe(call_url(settings.endpoint_url), PREPARATION, settings.s3_bucket)
