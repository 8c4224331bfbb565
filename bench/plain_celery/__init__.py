"""A plain Celery worker that does the same work, without any guarantee."""
