"""Suspicion score on good cutouts and on the same ones broken on purpose."""
