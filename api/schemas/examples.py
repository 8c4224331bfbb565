"""Values that the examples share."""

A_JOB = "01a20519-4707-757a-9c1e-0f6f3a4c2b11"
A_BATCH = "01a20515-06db-7dfe-a584-1fdef9ab3e38"
A_MOMENT = "2026-11-22T09:14:03.482000Z"
