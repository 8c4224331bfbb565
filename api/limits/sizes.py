"""Sizes of request bodies, in bytes."""

# What routes take that take neither pictures nor lists; a larger JSON body needs a place of its own.
USUAL_BYTES = 64 * 1024
LIST_BYTES = 16_000_000
