"""One example of each body and answer. A test reads them by the schemas that they are of."""

from typing import Any

JOB_ID = "01a20519-4707-757a-8d0e-3f1c5e2b9a44"
BATCH_ID = "01a20515-06db-7dfe-a584-1fdef9ab3e38"
AT = "2026-11-22T09:15:04.512000Z"

EXAMPLES: dict[str, dict[str, Any]] = {
    "JobView": {
        "id": JOB_ID,
        "batch_id": BATCH_ID,
        "external_id": "SKU-4471",
        "return_form": "rgba",
        "state": "succeeded",
        "step": "copy",
        "tries": 0,
        "credits": 1,
        "scheduled_at": AT,
        "created_at": AT,
        "finished_at": AT,
        "cancelled_at": None,
        "error": None,
        "result": {
            "key": f"cutouts/{BATCH_ID}/SKU-4471.png",
            "url": f"/v1/jobs/{JOB_ID}/result",
            "media_type": "image/png",
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "size_bytes": 48213,
            "width": 1200,
            "height": 1600,
            "warning": None,
        },
        "unexpected": None,
    },
    "ExplanationView": {
        "state": "queued",
        "why": "no-dispatcher",
        "text": "no dispatcher leads, so nothing is dispatched",
        "remedy": "start `cutout dispatcher`",
        "ahead": None,
        "until": None,
    },
    "BatchRequest": {
        "name": "spring catalog",
        "return_form": "whiteBK",
        "jobs": [{"external_id": "SKU-4471", "source_url": "https://shop.example/p/4471.jpg"}],
    },
    "BatchView": {
        "id": BATCH_ID,
        "name": "spring catalog",
        "created_at": AT,
        "paused_at": None,
        "paused_by_operator_at": None,
        "opens_at": None,
        "closes_at": None,
        "cancelled_at": None,
        "budget": None,
        "results_url": f"/v1/batches/{BATCH_ID}/results",
        "results_key": None,
        "state": "active",
        "finished_at": None,
        "total": 1,
        "counts": {"queued": 1, "running": 0, "held": 0, "succeeded": 0, "failed": 0, "cancelled": 0},
        "credits": 0,
        "eta_seconds": 3,
        "ingest": None,
    },
}
