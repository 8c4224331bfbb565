"""Calls of the API as flows, written once for both clients."""
