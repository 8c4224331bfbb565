"""Times of the soak that its parts share."""

# Longer than an answer takes on a busy machine, and than a worker is frozen.
CALL_DEADLINE_S = 20.0
