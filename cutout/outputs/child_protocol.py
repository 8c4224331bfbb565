"""Requests to a rendering process: their names, and the files that are sent when a picture is opened."""

OPEN, NEEDS, MAKE, SCORE = "open", "needs", "make", "score"
PARTS = ("bought", "source", "full")
