"""A link that signs in at the console once, for who has just started everything on this machine.

`cutout up` imports it once all is ready.
"""

import socket
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from cli.actor import asked
from cutout.actions.keys import renew_operator_key
from cutout.models.database import connect
from cutout.producers.sessions import LINK_LASTS, make_link

if TYPE_CHECKING:
    from cli.stack import Stack

MINUTES = int(LINK_LASTS.total_seconds()) // 60


def sign_in_link(stack: "Stack") -> str | None:
    """The address that signs in as an operator, once and within MINUTES; None without a console.

    Its key takes the place of the last start's, whose sessions end with it.
    """
    if not stack.settings.console:
        return None
    # Named by the data directory, since others may use the same database.
    name = f"{socket.gethostname()}:{stack.options.data_dir}"
    engine = connect(stack.settings.database_url.get_secret_value(), connections=1, name="cutout-up")
    try:
        with Session(engine) as session, session.begin():
            key, _ = renew_operator_key(session, asked(), name)
            token = make_link(session.connection(), key.id)
    finally:
        engine.dispose()
    return f"{stack.api_url}/console/link?token={token}"
