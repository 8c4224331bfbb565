"""The console: web pages about jobs, batches and money, rendered on the server, in the API's process.

It stands on the core and on what the API hands it (`console/handed.py`). `console/screens/` has a module for
each screen: its question to the database, its view, and the name of its template in `console/templates/`.
"""

from console.console import Console, open_console
from console.faults import PageError
from console.handed import CountedBatch, Handed, KnownKey, OptionError, TooManyTriesError
from console.routes import router
from console.viewer import may_look

__all__ = [
    "Console",
    "CountedBatch",
    "Handed",
    "KnownKey",
    "OptionError",
    "PageError",
    "TooManyTriesError",
    "may_look",
    "open_console",
    "router",
]
