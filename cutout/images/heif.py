"""HEIC, the photos of phones: decoded where pillow-heif is installed, which is an extra."""

import importlib
from functools import cache

HEIF_REMEDY = "install the extra `heif` (pip install 'cutout[heif]') for the worker, or send a JPEG"


@cache
def is_heif_decoded() -> bool:
    """Whether this process decodes HEIC; registers the decoder with Pillow on the first call."""
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        return False
    # One thread, as for any other picture; a thumbnail is not the picture.
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return True
