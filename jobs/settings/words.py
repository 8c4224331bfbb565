"""Words that settings are written with."""

PREFIX = "CUTOUT_"
PLAIN_HTTP = "http://"
AUTO = "auto"
VERDICTS_EXAMPLE = '{"PROCESSING_FAILURE": {"verdict": "retry", "tries": 3, "first_seconds": 5}}'
