"""Schedules: batches that repeat, fired once each, with windows, budgets and reports."""

from cutout.schedules.report import Report, gather
from cutout.schedules.report_publish import keep_report, runs_to_report

__all__ = ["Report", "gather", "keep_report", "runs_to_report"]
