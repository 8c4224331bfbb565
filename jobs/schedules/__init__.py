"""Batches that repeat: when they fire, once each, in their windows and within their budgets."""
