"""What is said of a schedule's run each morning: gathered, written into the bucket."""

from jobs.reports.figures import Report, gather
from jobs.reports.keeping import keep_report, runs_to_report

__all__ = ["Report", "gather", "keep_report", "runs_to_report"]
