"""Suspicion score of a cutout: measures on a small copy, and rules from which values they are suspicious."""
