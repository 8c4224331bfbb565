"""Trouble: what waits for a person, by reason, and the lists behind each number."""
