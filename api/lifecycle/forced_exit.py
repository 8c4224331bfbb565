"""The end of the process does not wait for ever for a thread that is still at work."""

import logging
import os
import threading
import time

log = logging.getLogger(__name__)

THREADS_WITHIN_S = 5.0


def end_in_time(within_s: float = THREADS_WITHIN_S) -> None:
    """Wait for the threads that Python would wait for, and end the process with 0 if they take longer.

    What they do is safe to break off: it is done in transactions, and is done anew by whoever asks again.
    """
    ends_at = time.monotonic() + within_s
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(ends_at - time.monotonic(), 0))
            if thread.is_alive():
                log.warning(
                    "a request is broken off in the thread %s, %g s past the end", thread.name, within_s
                )
                logging.shutdown()
                os._exit(0)
