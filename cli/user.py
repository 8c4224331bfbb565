"""Name of the user of this machine who runs a command."""

import os
import pwd


def user() -> str:
    """The name of the process's user; for root by sudo, the user who became it, too.

    For others the environment says nothing: anybody may set it.
    """
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    by = os.environ.get("SUDO_USER")
    return f"{name} by sudo of {by}" if uid == 0 and by else name
