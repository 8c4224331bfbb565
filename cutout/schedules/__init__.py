"""Batches that repeat: when they fire, once each, in their windows and budgets; and their report."""

from cutout.schedules.report import Report, gather
from cutout.schedules.report_publish import keep_report, runs_to_report

__all__ = ["Report", "gather", "keep_report", "runs_to_report"]
