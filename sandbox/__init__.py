"""A stand-in for the background removal endpoint, written from the endpoint's documents.

It imports nothing of the system it tests, so a mistake cannot agree with itself on both sides.
"""
