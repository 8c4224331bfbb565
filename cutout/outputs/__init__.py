"""Outputs: pictures made from what was bought. Pure code on pictures; it knows no database."""
