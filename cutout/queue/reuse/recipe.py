"""What cutouts of this installation are made by: where an identity's parts come from."""

from cutout.endpoint.client import call_url
from cutout.images.image import PREPARATION
from cutout.queue.reuse.identity import Making
from cutout.settings import Settings


def making_of(settings: Settings) -> Making:
    """The endpoint that is called, our preparation and the bucket.

    Raises ValueError for a base URL that is none.
    """
    return Making(call_url(settings.endpoint_url), PREPARATION, settings.s3_bucket)
