"""Helpers for a client of plain HTTP."""

import ssl

# It trusts nobody, and is there at once: httpx would read the certificates of the world for every client,
# which takes 50 ms.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
