"""The truth about charges: an endpoint that counts, and never asks our ledger."""

import uuid
from collections import Counter


class Endpoint:
    """Charges by job. A call is charged at most once, whoever reads its answer."""

    def __init__(self) -> None:
        self.charges: Counter[uuid.UUID] = Counter()

    def charge(self, job_id: uuid.UUID) -> str:
        """A call that succeeds: its result's URL."""
        self.charges[job_id] += 1
        return f"https://results.example/{job_id}/{self.charges[job_id]}"
