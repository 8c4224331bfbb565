"""Renderers: processes that make outputs from what was bought. They call nothing that costs a credit."""
