"""Steps that tests take with a local server."""

from local.server import Server


def restart(server: Server) -> None:
    """Stop the server if it runs, and start it at the same address with its data."""
    server.stop()
    server.start()
