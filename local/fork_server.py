"""Fork server: a process that has imported modules once, and forks itself into each process asked for.

Its arguments are the modules to import. A request is a line of JSON on stdin: `module` and `arguments`,
as of `python -m`, `environment`, and the path of a `log` or null. Each is answered by a line {"pid": ...}; a
line {"ended": pid, "code": code} follows when that process ends, its code as of subprocess. The end of stdin
ends the server, but none of its processes.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

READ_BYTES = 65536
LONGEST_COMM = 15


def main() -> None:
    """Import, serve, and become the process that was asked for in each fork."""
    # It would go through all that is imported, again and again.
    gc.disable()
    for name in sys.argv[1:]:
        importlib.import_module(name)
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"the imports of {sys.argv[1:]} started threads, which no fork has: {names}")
    # What is imported stays on memory pages that all forks share.
    gc.freeze()
    gc.enable()
    request = _Server().serve()
    if request is not None:
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


class _Server:
    def __init__(self) -> None:
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)

    def serve(self) -> dict[str, Any] | None:
        """Serve until the end of stdin, then return None; in each fork, return its request."""
        unread = b""
        while True:
            readable, _, _ = select.select([0, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, READ_BYTES)
                _tell_ends()
            if 0 in readable:
                piece = os.read(0, READ_BYTES)
                if not piece:
                    return None
                *lines, unread = (unread + piece).split(b"\n")
                for line in lines:
                    request: dict[str, Any] = json.loads(line)
                    pid = os.fork()
                    if pid == 0:
                        self._become(request)
                        return request
                    _tell({"pid": pid})

    def _become(self, request: dict[str, Any]) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._woken)
        os.close(self._wake)
        nothing = os.open(os.devnull, os.O_RDWR)
        output = nothing if request["log"] is None else os.open(request["log"], os.O_WRONLY | os.O_APPEND)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # What `ps -o comm` and `top` show; the command line stays the server's.
        Path("/proc/self/comm").write_text(
            " ".join((request["module"], *request["arguments"]))[:LONGEST_COMM]
        )
        os.environ.clear()
        os.environ.update(request["environment"])


def _tell_ends() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, int]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")
