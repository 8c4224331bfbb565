"""An endpoint that counts its charges itself, independently of our ledger."""

import uuid
from collections import Counter


class Endpoint:
    """Counts charges by job. A call is charged at most once, whoever reads its response."""

    def __init__(self) -> None:
        self.charges: Counter[uuid.UUID] = Counter()

    def charge(self, job_id: uuid.UUID) -> str:
        """Charge a call that succeeds; returns the URL of its result."""
        self.charges[job_id] += 1
        return f"https://results.example/{job_id}/{self.charges[job_id]}"
